// A day of the calendar, and the division that counts backwards as well.

/// A day of the proleptic Gregorian calendar. The arithmetic counts years from March, so that the leap day is
/// the last of its year, in eras of 400 years (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
public struct CivilDate: Sendable, Equatable {
  /// Astronomical: year 0 is 1 BC.
  public let year: Int64
  /// 1 to 12.
  public let month: Int64
  /// 1 to 31.
  public let day: Int64

  /// The day so many days after 1970-01-01.
  public init(daysSinceEpoch: Int64) {
    let (era, dayOfEra) = flooredDivision(daysSinceEpoch + daysToEpoch, daysPerEra)
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let monthFromMarch = (5 * dayOfYear + 2) / 153
    day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
    month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
    year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  }

  /// The first day of a month.
  ///
  /// - Parameter month: 1 to 12.
  public init(firstOf month: Int64, in year: Int64) {
    self.year = year
    self.month = month
    self.day = 1
  }

  /// A day by its name; nil when the calendar has none of that name.
  public init?(year: Int64, month: Int64, day: Int64) {
    guard (1...12).contains(month), (1...31).contains(day) else { return nil }
    let first = CivilDate(firstOf: month, in: year)
    self.init(daysSinceEpoch: first.daysSinceEpoch + day - 1)
    guard self.month == month else { return nil }
  }

  /// How many days after 1970-01-01.
  public var daysSinceEpoch: Int64 {
    let (era, yearOfEra) = flooredDivision(month <= 2 ? year - 1 : year, 400)
    let monthFromMarch = month > 2 ? month - 3 : month + 9
    let dayOfYear = (153 * monthFromMarch + 2) / 5 + day - 1
    return era * daysPerEra + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - daysToEpoch
  }
}

private let daysPerEra: Int64 = 146_097
/// From 0000-03-01 to 1970-01-01.
private let daysToEpoch: Int64 = 719_468

/// Quotient and remainder with a remainder that is never negative, so that moments before the epoch count forward too.
///
/// - Parameter divisor: greater than zero.
public func flooredDivision(_ value: Int64, _ divisor: Int64) -> (quotient: Int64, remainder: Int64) {
  let (quotient, remainder) = value.quotientAndRemainder(dividingBy: divisor)
  return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
}
