// The day-of-week field: weekdays, the nth weekday of a month, the last one of a month.

/// Which days of a month a day-of-week field matches. Weekdays count from 0 for Sunday.
struct DaysOfWeek: Sendable, Equatable {
  /// Weekdays that match in every week.
  private(set) var every = ValueSet()
  /// Weekday w of `w#n` is the member (n − 1) · 7 + w.
  private(set) var nth = ValueSet()
  /// The weekdays w of `wL`.
  private(set) var last = ValueSet()
  /// Whether the field narrows the days on its own account: it does not begin with `*` (crontab(5)).
  let isRestricted: Bool

  init(_ text: Substring) throws(Complaint) {
    isRestricted = text.utf8.first != UInt8(ascii: "*")
    for element in try elements(of: text) { try insert(element) }
  }

  private mutating func insert(_ element: String) throws(Complaint) {
    let parts = element.split(separator: "#", omittingEmptySubsequences: false).map(String.init)
    if parts.count == 2, parts[1] != "L" {
      guard let n = number(parts[1]), (1...5).contains(n) else {
        throw Complaint(message: "\"\(element)\" needs a number from 1 to 5 or L after #, as in FRI#2")
      }
      for weekday in try Self.weekdays(parts[0], of: element) { nth.insert((n - 1) * 7 + weekday) }
    } else if parts.count == 2 {
      last.formUnion(try Self.weekdays(parts[0], of: element))
    } else if parts.count == 1, element.utf8.last == UInt8(ascii: "L") {
      last.formUnion(try Self.weekdays(String(element.dropLast()), of: element))
    } else {
      every.formUnion(try values(of: element, in: .dayOfWeek))
    }
  }

  /// The weekdays named before `#` or `L`: one of them or a range, as in `MON-FRI#2`.
  private static func weekdays(_ text: String, of element: String) throws(Complaint) -> ValueSet {
    guard !text.isEmpty, !text.utf8.contains(UInt8(ascii: "*")), !text.utf8.contains(UInt8(ascii: "/")) else {
      throw Complaint(
        message: "\"\(element)\" needs a weekday or a range of weekdays in front, as in FRIL or FRI#2")
    }
    return try values(of: text, in: .dayOfWeek)
  }

  /// The days of `month` that match.
  func days(in month: MonthShape) -> ValueSet {
    var days = ValueSet(repeating: every, from: month.firstWeekday)
    for member in nth { days.insert(month.firstDay(on: member % 7) + member / 7 * 7) }
    for weekday in last {
      let first = month.firstDay(on: weekday)
      days.insert(first + (month.length - first) / 7 * 7)
    }
    days.formIntersection(ValueSet(1...month.length))
    return days
  }
}
