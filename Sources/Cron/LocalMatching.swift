// An expression against local time as if no clock were ever changed: pure arithmetic on days and minutes.

internal import Time

let secondsPerDay: Int64 = 86_400

/// Local times are counted in seconds from 1970-01-01T00:00:00 of the local clock.
extension CronExpression {
  /// The first local time that matches.
  ///
  /// - Parameters:
  ///   - local: where to begin; it may match itself.
  ///   - limit: where to end; it does not match itself.
  func firstMatch(atOrAfter local: Int64, before limit: Int64) -> Int64? {
    guard local < limit else { return nil }
    let (today, second) = flooredDivision(local, secondsPerDay)
    let lastDay = flooredDivision(limit - 1, secondsPerDay).quotient
    guard var day = firstDay(atOrAfter: today, through: lastDay) else { return nil }
    var time = firstTime
    if day == today {
      // A minute that has begun is over: what matches is its first second.
      if let later = firstTime(atOrAfterMinute: Int((second + 59) / 60)) {
        time = later
      } else if let next = firstDay(atOrAfter: today + 1, through: lastDay) {
        day = next
      } else {
        return nil
      }
    }
    let match = day * secondsPerDay + time
    return match < limit ? match : nil
  }

  /// How many local times of a range match.
  func countMatches(in range: Range<Int64>) -> Int {
    guard !range.isEmpty else { return 0 }
    let (firstDay, firstSecond) = flooredDivision(range.lowerBound, secondsPerDay)
    let (lastDay, lastSecond) = flooredDivision(range.upperBound, secondsPerDay)
    var count = countDays(in: firstDay..<lastDay) * hours.count * minutes.count
    if matches(day: firstDay) { count -= countTimes(beforeSecond: firstSecond) }
    if matches(day: lastDay) { count += countTimes(beforeSecond: lastSecond) }
    return count
  }

  // MARK: Times of a day

  /// The shortest time by the clock between two of the times of one day, or between the last and the first of the next
  /// day: at most a day. On a day on which the clock is changed two occurrences can be nearer to each other.
  public var shortestInterval: Duration {
    let times = hours.flatMap { hour in minutes.map { Int64(hour * 60 + $0) * 60 } }
    let following = times.dropFirst() + [firstTime + secondsPerDay]
    return .seconds(zip(times, following).map { $1 - $0 }.min() ?? secondsPerDay)
  }

  /// The first matching time of any day, in seconds.
  private var firstTime: Int64 {
    guard let time = firstTime(atOrAfterMinute: 0) else { preconditionFailure("a field matches no value") }
    return time
  }

  /// In seconds; nil when the day has none any more.
  ///
  /// - Parameter minute: of the day, 0 to 1440.
  private func firstTime(atOrAfterMinute minute: Int) -> Int64? {
    let (hour, rest) = minute.quotientAndRemainder(dividingBy: 60)
    if hours.contains(hour), let first = minutes.first(atOrAfter: rest) {
      return Int64(hour * 60 + first) * 60
    }
    guard let next = hours.first(atOrAfter: hour + 1), let first = minutes.first(atOrAfter: 0) else {
      return nil
    }
    return Int64(next * 60 + first) * 60
  }

  private func countTimes(beforeSecond second: Int64) -> Int {
    let (hour, rest) = Int(second + 59).quotientAndRemainder(dividingBy: 3600)
    let partly = hours.contains(hour) ? minutes.count(below: rest / 60) : 0
    return hours.count(below: hour) * minutes.count + partly
  }

  // MARK: Days, counted from 1970-01-01

  private func matches(day: Int64) -> Bool { firstDay(atOrAfter: day, through: day) != nil }

  #if DEBUG
    /// Told of each month that a search looks at: what the test that bounds the work of a search counts.
    @TaskLocal static var onMonth: (@Sendable () -> Void)?
  #endif

  private func firstDay(atOrAfter day: Int64, through last: Int64) -> Int64? {
    let date = CivilDate(daysSinceEpoch: day)
    var (year, month) = (date.year, Int(date.month))
    var earliest = Int(date.day)
    while true {
      if let next = months.first(atOrAfter: month) {
        if next > month { earliest = 1 }
        month = next
      } else {
        guard let next = months.first(atOrAfter: 1) else { preconditionFailure("a field matches no value") }
        (year, month, earliest) = (year + 1, next, 1)
      }
      let first = CivilDate(firstOf: Int64(month), in: year).daysSinceEpoch
      guard first <= last else { return nil }
      #if DEBUG
        Self.onMonth?()
      #endif
      if let match = days(in: MonthShape(month: month, year: year, firstDay: first)).first(
        atOrAfter: earliest)
      {
        let day = first + Int64(match) - 1
        return day <= last ? day : nil
      }
      (month, earliest) = (month + 1, 1)
    }
  }

  private func countDays(in range: Range<Int64>) -> Int {
    guard !range.isEmpty else { return 0 }
    let date = CivilDate(daysSinceEpoch: range.lowerBound)
    var (year, month) = (date.year, Int(date.month))
    var count = 0
    while true {
      let first = CivilDate(firstOf: Int64(month), in: year).daysSinceEpoch
      guard first < range.upperBound else { return count }
      if months.contains(month) {
        let days = days(in: MonthShape(month: month, year: year, firstDay: first))
        let before = days.count(below: Int(max(range.lowerBound - first, 0)) + 1)
        count += days.count(below: Int(min(range.upperBound - first, 31)) + 1) - before
      }
      (year, month) = month == 12 ? (year + 1, 1) : (year, month + 1)
    }
  }
}

extension MonthShape {
  /// A month of the calendar.
  ///
  /// - Parameter firstDay: its first day, counted from 1970-01-01, which was a Thursday.
  fileprivate init(month: Int, year: Int64, firstDay: Int64) {
    let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
    let lengths = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    self.init(
      month: month, length: lengths[month - 1], firstWeekday: Int(flooredDivision(firstDay + 4, 7).remainder))
  }
}
