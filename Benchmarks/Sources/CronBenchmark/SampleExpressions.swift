// Expressions from a seed: every form of every field, rare ones more often than people write them.

import Cron

/// SplitMix64: the same numbers for a seed on every machine.
struct Dice: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var bits = state
    bits = (bits ^ bits >> 30) &* 0xbf58_476d_1ce4_e5b9
    bits = (bits ^ bits >> 27) &* 0x94d0_49bb_1331_11eb
    return bits ^ bits >> 31
  }

  mutating func pick<Element>(_ elements: [Element]) -> Element {
    elements[number(elements.indices.lowerBound, elements.count - 1)]
  }

  mutating func number(_ first: Int, _ last: Int) -> Int { Int.random(in: first...last, using: &self) }
}

extension Dice {
  /// Some that can fire, and those that fire least often.
  mutating func expressions(_ count: Int) -> [CronExpression] {
    let rarest = [
      "0 0 29 2 */7", "59 23 29 2 */7", "* * 29 2 */7", "0 0 31W 2,1 *", "0 0 */30 2 *", "0 0 */28 2 5#5",
      "30 2 29 2 *", "0-59/59 0-23/23 29 2 *", "@yearly",
    ]
    var found = rarest.compactMap { try? CronExpression($0) }
    while found.count < count {
      let fields = [plain(0, 59), plain(0, 23), dayOfMonth(), plain(1, 12), dayOfWeek()]
      // Some can never fire, as the 30th of February.
      if let expression = try? CronExpression(fields.joined(separator: " ")) { found.append(expression) }
    }
    return found
  }

  private mutating func list(_ element: (inout Dice) -> String) -> String {
    (0...pick([0, 0, 0, 1, 4])).map { _ in element(&self) }.joined(separator: ",")
  }

  private mutating func plain(_ first: Int, _ last: Int) -> String {
    pick([true, false, false])
      ? "*"
      : list { dice in
        let low = dice.number(first, last)
        let high = dice.number(low, last)
        let step = dice.number(1, last - first)
        return dice.pick(["\(low)", "\(low)", "\(low)-\(high)", "\(low)-\(high)/\(step)", "*/\(step)"])
      }
  }

  private mutating func dayOfMonth() -> String {
    pick([true, false])
      ? plain(1, 31)
      : list { dice in dice.pick(["L", "LW", "\(dice.number(1, 31))W", "\(dice.number(28, 31))"]) }
  }

  private mutating func dayOfWeek() -> String {
    pick([true, false])
      ? plain(0, 7)
      : list { dice in
        let day = dice.number(0, 7)
        return dice.pick(["\(day)L", "\(day)#\(dice.number(1, 5))", "\(day)", "*/\(dice.number(1, 7))"])
      }
  }
}
