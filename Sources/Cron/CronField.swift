// The five fields of a cron expression: which values each takes and how they may be written.

/// A field of a cron expression, in the order in which the fields are written.
public enum CronField: String, Sendable, Equatable, CaseIterable {
  /// 0 to 59.
  case minute
  /// 0 to 23.
  case hour
  /// 1 to 31, or one of the forms `L`, `LW` and `15W`.
  case dayOfMonth = "day-of-month"
  /// 1 to 12 or JAN to DEC.
  case month
  /// 0 to 7 or SUN to SAT, or one of the forms `5L` and `5#2`. 0 and 7 are both Sunday.
  case dayOfWeek = "day-of-week"

  /// The numbers that may be written.
  var values: ClosedRange<Int> {
    switch self {
    case .minute: 0...59
    case .hour: 0...23
    case .dayOfMonth: 1...31
    case .month: 1...12
    case .dayOfWeek: 0...7
    }
  }

  /// How many different values the field has; a longer step could only ever reach one of them.
  var span: Int { self == .dayOfWeek ? 7 : values.count }

  /// Upper-case names, the first standing for the lowest value; empty for a field without names.
  var names: [String] {
    switch self {
    case .minute, .hour, .dayOfMonth: []
    case .month:
      ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
    case .dayOfWeek: ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
    }
  }

  /// What the field takes, in words that end an error message.
  var expected: String {
    switch self {
    case .minute, .hour: "\(values.lowerBound) to \(values.upperBound)"
    case .dayOfMonth: "1 to 31, L for the last day, LW for the last weekday or a form like 15W"
    case .month: "1 to 12 or JAN to DEC"
    case .dayOfWeek: "0 to 7 (0 and 7 are Sunday), SUN to SAT, or a form like FRI#2 or FRIL"
    }
  }
}
