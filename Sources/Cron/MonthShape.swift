// All that the day fields need to know of a month: how long it is and on which weekday it begins.

/// A month as the day fields see it. Weekdays count from 0 for Sunday.
struct MonthShape: Sendable, Equatable {
  /// 1 to 12.
  let month: Int
  /// In days, 28 to 31.
  let length: Int
  /// The weekday of day 1, 0 to 6.
  let firstWeekday: Int

  func weekday(of day: Int) -> Int { (firstWeekday + day - 1) % 7 }

  /// The first day of the month on a weekday, 1 to 7.
  func firstDay(on weekday: Int) -> Int { (weekday - firstWeekday + 7) % 7 + 1 }

  /// The Monday-to-Friday day nearest to `day` that is in the same month.
  func nearestWeekday(to day: Int) -> Int {
    switch weekday(of: day) {
    case 6: day > 1 ? day - 1 : day + 2
    case 0: day < length ? day + 1 : day - 2
    default: day
    }
  }

  /// Every shape that a month of the Gregorian calendar can have, and no other. The calendar repeats
  /// after 400 years, and in those both the common and the leap years begin on each of the seven
  /// weekdays; so every length of a month meets every first weekday.
  static let all: [MonthShape] = {
    let lengths = [[31], [28, 29], [31], [30], [31], [30], [31], [31], [30], [31], [30], [31]]
    return zip(1...12, lengths).flatMap { month, lengths in
      lengths.flatMap { length in
        (0...6).map { MonthShape(month: month, length: length, firstWeekday: $0) }
      }
    }
  }()
}
