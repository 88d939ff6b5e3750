// The day-of-month field: listed days, the last day, the last weekday, the weekday nearest to a day.

/// Which days of a month a day-of-month field matches.
struct DaysOfMonth: Sendable, Equatable {
  /// Days that match by their number, 1 to 31.
  private(set) var listed = ValueSet()
  /// The days n of `nW`, 1 to 31. A month without day n has no weekday nearest to it.
  private(set) var nearestWeekday = ValueSet()
  /// `L`.
  private(set) var lastDay = false
  /// `LW`.
  private(set) var lastWeekday = false
  /// Whether the field narrows the days on its own account: it does not begin with `*` (crontab(5)).
  let isRestricted: Bool

  init(_ text: Substring) throws(Complaint) {
    isRestricted = text.utf8.first != UInt8(ascii: "*")
    for element in try elements(of: text) {
      switch element {
      case "L": lastDay = true
      case "LW": lastWeekday = true
      case _ where element.utf8.last == UInt8(ascii: "W"):
        nearestWeekday.insert(try Self.dayBeforeW(element))
      default: listed.formUnion(try values(of: element, in: .dayOfMonth))
      }
    }
  }

  private static func dayBeforeW(_ element: String) throws(Complaint) -> Int {
    guard let day = number(String(element.dropLast())), CronField.dayOfMonth.values.contains(day) else {
      throw Complaint(
        message: "\"\(element)\" is not a nearest weekday: write one day from 1 to 31 before W, as in 15W")
    }
    return day
  }

  /// The days of `month` that match.
  func days(in month: MonthShape) -> ValueSet {
    var days = listed
    for day in nearestWeekday where day <= month.length {
      days.insert(month.nearestWeekday(to: day))
    }
    if lastDay { days.insert(month.length) }
    // The last weekday is never after the last day, so the nearest one within the month is the last.
    if lastWeekday { days.insert(month.nearestWeekday(to: month.length)) }
    days.formIntersection(ValueSet(1...month.length))
    return days
  }
}
