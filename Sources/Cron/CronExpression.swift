// A cron expression: five fields or a macro, read into sets that answer which days, hours and minutes match.

/// A five-field cron expression (minute, hour, day-of-month, month, day-of-week) that can fire.
///
/// Lists, ranges, steps, `*` and the names JAN to DEC and SUN to SAT in any case; 7 is Sunday as well as
/// 0. In day-of-month, `L` is the last day, `LW` the last weekday, `15W` the weekday nearest to the 15th
/// within the month. In day-of-week, `5L` or `5#L` is the last Friday and `5#2` the second; a range may
/// stand in front. These letters mean what they mean to croner (https://github.com/Hexagon/croner-rust).
///
/// When neither day field begins with `*`, a day matches that one of them matches; otherwise it has to
/// match both, as crontab(5) has it: `0 0 */2 * MON` fires on odd days that are Mondays.
public struct CronExpression: Sendable, Equatable, CustomStringConvertible {
  /// The longest expression that is read, in bytes: many times what naming every value would take.
  public static let textByteLimit = 1024

  /// The expression as it was written.
  public let text: String

  /// 0 to 59.
  let minutes: ValueSet
  /// 0 to 23.
  let hours: ValueSet
  /// 1 to 12.
  let months: ValueSet
  let daysOfMonth: DaysOfMonth
  let daysOfWeek: DaysOfWeek
  /// Whether minute or hour holds `*` or a step: such an expression goes by elapsed time, any other by the local day.
  let isInterval: Bool

  /// The expression as it was written.
  public var description: String { text }

  /// Reads an expression.
  ///
  /// - Parameter text: Five fields with blanks between them, or one of @hourly, @daily, @midnight,
  ///   @weekly, @monthly, @yearly and @annually.
  /// - Throws: `CronError` with every field that is wrong, or with the reason why it could never fire.
  public init(_ text: String) throws(CronError) {
    let fields = try Self.split(text)
    var problems: [CronError.Problem] = []
    /// Reads one field and goes on after a complaint, so that all five are heard.
    func read<Value>(_ field: CronField, _ body: () throws(Complaint) -> Value) -> Value? {
      do {
        return try body()
      } catch {
        problems.append(CronError.Problem(field: field, message: error.message))
        return nil
      }
    }
    func plain(_ field: CronField, _ text: Substring) -> ValueSet? {
      read(field) { () throws(Complaint) in
        var set = ValueSet()
        for element in try elements(of: text) { set.formUnion(try values(of: element, in: field)) }
        return set
      }
    }
    let minutes = plain(.minute, fields[0])
    let hours = plain(.hour, fields[1])
    let daysOfMonth = read(.dayOfMonth) { () throws(Complaint) in try DaysOfMonth(fields[2]) }
    let months = plain(.month, fields[3])
    let daysOfWeek = read(.dayOfWeek) { () throws(Complaint) in try DaysOfWeek(fields[4]) }
    guard let minutes, let hours, let daysOfMonth, let months, let daysOfWeek else {
      throw CronError(problems)
    }
    self.text = text
    self.minutes = minutes
    self.hours = hours
    self.daysOfMonth = daysOfMonth
    self.months = months
    self.daysOfWeek = daysOfWeek
    isInterval = fields[0...1].contains { $0.contains { "*/".contains($0) } }
    guard MonthShape.all.contains(where: { !days(in: $0).isEmpty }) else {
      throw CronError(Self.neverFires(fields))
    }
  }

  /// The days of `month` on which the expression fires.
  func days(in month: MonthShape) -> ValueSet {
    guard months.contains(month.month) else { return ValueSet() }
    var days = daysOfMonth.days(in: month)
    if daysOfMonth.isRestricted, daysOfWeek.isRestricted {
      days.formUnion(daysOfWeek.days(in: month))
    } else {
      days.formIntersection(daysOfWeek.days(in: month))
    }
    return days
  }
}

extension CronExpression {
  private static let macros = [
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
  ]

  private static let order = "minute hour day-of-month month day-of-week"

  /// The five fields of `text`, a macro written out.
  private static func split(_ text: String) throws(CronError) -> [Substring] {
    guard text.utf8.count <= textByteLimit else {
      throw CronError("is longer than \(textByteLimit) bytes: write a shorter expression")
    }
    // From here on every part of the text can be quoted in a message and printed on a terminal.
    guard text.utf8.allSatisfy({ (0x20...0x7e).contains($0) || $0 == UInt8(ascii: "\t") }) else {
      throw CronError("holds a character that is not printable ASCII: write five fields, \(order)")
    }
    let fields = text.split(whereSeparator: { $0 == " " || $0 == "\t" })
    if fields.count == 1, fields[0].utf8.first == UInt8(ascii: "@") {
      guard let macro = macros[fields[0].lowercased()] else {
        throw CronError(
          "\"\(fields[0])\" is not a macro: expected one of \(macros.keys.sorted().joined(separator: ", "))")
      }
      return macro.split(separator: " ")
    }
    guard fields.count != 6, fields.count != 7 else {
      throw CronError(
        "has \(fields.count) fields, but seconds and years are not supported: write five, \(order)")
    }
    guard fields.count == 5 else {
      throw CronError("has \(fields.count) field\(fields.count == 1 ? "" : "s"): write five, \(order)")
    }
    return fields
  }

  private static func neverFires(_ fields: [Substring]) -> String {
    let days = "day-of-month \"\(fields[2])\"" + (fields[4] == "*" ? "" : " and day-of-week \"\(fields[4])\"")
    return "can never fire: month \"\(fields[3])\" has no day that matches \(days); change one of them"
  }
}
