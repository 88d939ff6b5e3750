// A moment in UTC as a value: what records and log lines carry, so that only the reactor reads a clock.

/// A moment, in nanoseconds since 1970-01-01T00:00:00Z; it covers the years 1677 to 2262.
public struct Timestamp: Sendable, Hashable {
  /// Nanoseconds since the epoch, negative before it. Leap seconds are not counted, as in POSIX.
  public let nanosecondsSinceEpoch: Int64

  /// A moment by its distance from the epoch.
  public init(nanosecondsSinceEpoch: Int64) {
    self.nanosecondsSinceEpoch = nanosecondsSinceEpoch
  }

  /// RFC 3339 in UTC with milliseconds, `2026-11-23T04:05:06.789Z`. What is finer is cut off, never rounded up.
  public var rfc3339: String { return text(fractionDigits: 3) }

  /// RFC 3339 in UTC with nanoseconds, `2026-11-23T04:05:06.789012345Z`.
  public var rfc3339Nanoseconds: String { return text(fractionDigits: 9) }
}

extension Timestamp: Comparable {
  /// The earlier moment comes first.
  public static func < (left: Timestamp, right: Timestamp) -> Bool {
    return left.nanosecondsSinceEpoch < right.nanosecondsSinceEpoch
  }
}

extension Timestamp: CustomStringConvertible {
  /// The text form with milliseconds.
  public var description: String { return rfc3339 }
}

extension Timestamp: Codable {
  /// Reads the text form; anything else is a data corruption error that quotes it.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    let text = try container.decode(String.self)
    guard let timestamp = Timestamp(rfc3339: text) else {
      throw DecodingError.dataCorruptedError(
        in: container, debugDescription: "'\(text)' is no RFC 3339 time in UTC between 1677 and 2262")
    }
    self = timestamp
  }

  /// Writes the text form with milliseconds.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(rfc3339)
  }
}

// MARK: - Text

private let nanosecondsPerSecond: Int64 = 1_000_000_000
private let secondsPerDay: Int64 = 86_400

extension Timestamp {
  private func text(fractionDigits: Int) -> String {
    // Floored, so that a moment before the epoch has a fraction that counts forward too.
    let (second, nanosecond) = flooredDivision(nanosecondsSinceEpoch, nanosecondsPerSecond)
    let (day, secondOfDay) = flooredDivision(second, secondsPerDay)
    let date = CivilDate(daysSinceEpoch: day)
    return digits(date.year, 4) + "-" + digits(date.month, 2) + "-" + digits(date.day, 2)
      + "T" + digits(secondOfDay / 3600, 2) + ":" + digits(secondOfDay / 60 % 60, 2)
      + ":" + digits(secondOfDay % 60, 2) + "." + digits(nanosecond, 9).prefix(fractionDigits) + "Z"
  }

  /// Reads `YYYY-MM-DDTHH:MM:SSZ` with at most nine digits of fraction; nil for anything else, for dates that
  /// do not exist and for years that nanoseconds in 64 bits do not reach.
  public init?(rfc3339 text: String) {
    let bytes = Array(text.utf8)
    let shape = Array("____-__-__T__:__:__".utf8)
    guard bytes.count > shape.count, bytes.last == UInt8(ascii: "Z") else { return nil }
    for (byte, expected) in zip(bytes, shape) where expected != UInt8(ascii: "_") && byte != expected {
      return nil
    }
    guard let year = number(bytes[0..<4]), let month = number(bytes[5..<7]), let day = number(bytes[8..<10]),
      let hour = number(bytes[11..<13]), let minute = number(bytes[14..<16]),
      let second = number(bytes[17..<19]), let nanosecond = fraction(bytes[19..<(bytes.count - 1)])
    else { return nil }
    let date = CivilDate(year: year, month: month, day: day)
    guard (1...12).contains(month), CivilDate(daysSinceEpoch: date.daysSinceEpoch) == date,
      hour < 24, minute < 60, second < 60
    else { return nil }
    var seconds = date.daysSinceEpoch * secondsPerDay + hour * 3600 + minute * 60 + second
    var rest = nanosecond
    if seconds < 0 && rest > 0 {
      // Counted down from the next second: the earliest moments have a whole second that does not fit.
      seconds += 1
      rest -= nanosecondsPerSecond
    }
    let (whole, tooLarge) = seconds.multipliedReportingOverflow(by: nanosecondsPerSecond)
    let (sum, overflow) = whole.addingReportingOverflow(rest)
    guard !tooLarge, !overflow else { return nil }
    self.init(nanosecondsSinceEpoch: sum)
  }
}

private func flooredDivision(_ value: Int64, _ divisor: Int64) -> (quotient: Int64, remainder: Int64) {
  let (quotient, remainder) = value.quotientAndRemainder(dividingBy: divisor)
  return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
}

private func digits(_ value: Int64, _ width: Int) -> String {
  let text = String(value)
  return String(repeating: "0", count: max(0, width - text.utf8.count)) + text
}

private func number(_ bytes: ArraySlice<UInt8>) -> Int64? {
  var value: Int64 = 0
  for byte in bytes {
    guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
    value = value * 10 + Int64(byte - UInt8(ascii: "0"))
  }
  return value
}

/// The nanoseconds of a fraction with its point; zero where there is none.
private func fraction(_ bytes: ArraySlice<UInt8>) -> Int64? {
  guard let point = bytes.first else { return 0 }
  guard point == UInt8(ascii: "."), (2...10).contains(bytes.count) else { return nil }
  let missing = Array(repeating: UInt8(ascii: "0"), count: 10 - bytes.count)
  return number(bytes.dropFirst() + missing)
}

// MARK: - Calendar

/// A day of the proleptic Gregorian calendar. The arithmetic counts years from March, so that the leap day is
/// the last of its year, in eras of 400 years (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
private struct CivilDate: Equatable {
  let year: Int64
  let month: Int64
  let day: Int64

  init(year: Int64, month: Int64, day: Int64) {
    self.year = year
    self.month = month
    self.day = day
  }

  init(daysSinceEpoch: Int64) {
    let (era, dayOfEra) = flooredDivision(daysSinceEpoch + daysToEpoch, daysPerEra)
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let monthFromMarch = (5 * dayOfYear + 2) / 153
    day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
    month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
    year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  }

  var daysSinceEpoch: Int64 {
    let (era, yearOfEra) = flooredDivision(month <= 2 ? year - 1 : year, 400)
    let monthFromMarch = month > 2 ? month - 3 : month + 9
    let dayOfYear = (153 * monthFromMarch + 2) / 5 + day - 1
    return era * daysPerEra + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - daysToEpoch
  }
}

private let daysPerEra: Int64 = 146_097
/// From 0000-03-01 to 1970-01-01.
private let daysToEpoch: Int64 = 719_468
