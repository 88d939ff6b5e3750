// Expressions by chance, in all of the syntax.

import TestSupport

@testable import Cron

extension CronExpression {
  /// An expression that can fire.
  static func random(using random: inout SplitMix64) -> CronExpression {
    while true {
      let draw = Int.random(in: 0..<100, using: &random)
      let text: String
      if draw < 3 {
        text =
          ["@hourly", "@daily", "@weekly", "@monthly", "@yearly"].randomElement(using: &random) ?? "@daily"
      } else if draw < 10 {
        text = rare(using: &random)
      } else {
        text = [
          field(0...59, using: &random), field(0...23, using: &random), daysOfMonth(using: &random),
          Bool.random(using: &random) ? "*" : field(1...12, using: &random), daysOfWeek(using: &random),
        ].joined(separator: " ")
      }
      // Some can never fire, and say so.
      if let expression = try? CronExpression(text) { return expression }
    }
  }

  /// Expressions with years between their occurrences, and intervals that hit upon hours that may never exist.
  static func rare(using random: inout SplitMix64) -> String {
    let time =
      [
        "0 0", "30 2", "*/15 2", "0-59/20 2", "*/30 0", "59 23", "* 1", "0,30 2,3",
      ].randomElement(using: &random) ?? "0 0"
    let weekday = Int.random(in: 0...6, using: &random)
    let days =
      [
        "29 2 *", "29 2 */7", "* 2 \(weekday)#5", "*/28 2 \(weekday)#5", "29W 2 *", "*/28 2 \(weekday)L",
        "* 3 SUNL",
        "*/31 3 SUN#5", "* 3 SUN#2", "* 9 */7", "* 10 0L", "LW 2 */6", "31 3 */7", "* 4 FRI#L", "15W 6 */5",
      ].randomElement(using: &random) ?? "* * *"
    return "\(time) \(days)"
  }

  private static func field(_ values: ClosedRange<Int>, using random: inout SplitMix64) -> String {
    (0...Int.random(in: 0...2, using: &random)).map { _ in
      let (one, other) = (Int.random(in: values, using: &random), Int.random(in: values, using: &random))
      switch Int.random(in: 0..<8, using: &random) {
      case 0: return "*"
      case 1: return "*/\(Int.random(in: 1...values.count, using: &random))"
      case 2: return "\(min(one, other))-\(max(one, other))"
      case 3:
        return "\(min(one, other))-\(max(one, other))/\(Int.random(in: 1...values.count, using: &random))"
      default: return "\(one)"
      }
    }.joined(separator: ",")
  }

  private static func daysOfMonth(using random: inout SplitMix64) -> String {
    switch Int.random(in: 0..<10, using: &random) {
    case 0..<5: "*"
    case 5: "L"
    case 6: "LW"
    case 7: "\(Int.random(in: 1...31, using: &random))W,L"
    default: field(1...31, using: &random)
    }
  }

  private static func daysOfWeek(using random: inout SplitMix64) -> String {
    switch Int.random(in: 0..<10, using: &random) {
    case 0..<5: "*"
    case 5: "FRI#\(Int.random(in: 1...5, using: &random))"
    case 6: "\(Int.random(in: 0...7, using: &random))L"
    case 7: "MON-FRI"
    default: field(0...6, using: &random)
    }
  }
}
