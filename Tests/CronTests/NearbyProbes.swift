// The expressions that are tried at a change of the clock: in what it leaves out or shows twice, at its borders, beside it.

import TestSupport

@testable import Cron

extension Probe {
  /// A minute of the clock, taken apart.
  private struct Moment {
    let hour, minute, day, month, weekday: Int
    /// Which of its name the weekday is in the month.
    var ordinal: Int { (day - 1) / 7 + 1 }

    init(_ local: Int64) {
      let (day, second) = (local.dividedDown(by: 86_400), local - local.dividedDown(by: 86_400) * 86_400)
      (hour, minute) = (Int(second / 3600), Int(second / 60 % 60))
      let date = LocalClock.Day(number: day)
      (self.day, month, weekday) = (date.day, date.month, date.weekday)
    }

    var text: String { "\(minute) \(hour)" }
  }

  /// Expressions whose times lie in what the clock leaves out or shows twice, at its borders and beside it.
  static func around(_ second: Int64, on clock: LocalClock, using random: inout SplitMix64) -> [Probe] {
    let index = Int((second - clock.start) / clock.tick)
    let (before, after) = (clock.local[index - 1] + clock.tick, clock.local[index])
    let (low, high) = (min(before, after), max(before, after))
    let middle = (low + (high - low) / 2).dividedDown(by: 60) * 60
    let inside = Moment(middle)
    let edges = [low - 60, low, low + 60, high - 60, high, high + 60].map { Moment($0) }
    return ([inside] + edges).map { Probe("\($0.text) * * *", minutes: [$0.minute], hours: [$0.hour]) }
      + onCertainDays(inside) + onCertainDays(edges[4]) + lists(edges[1], inside, edges[4])
      + intervals(inside, edges[4]) + [anything(near: inside, using: &random)]
  }

  private static func onCertainDays(_ moment: Moment) -> [Probe] {
    let (day, month, weekday, ordinal) = (moment.day, moment.month, moment.weekday, moment.ordinal)
    func probe(_ days: String, _ matches: @escaping (LocalClock.Day) -> Bool) -> Probe {
      Probe("\(moment.text) \(days)", minutes: [moment.minute], hours: [moment.hour], matches: matches)
    }
    return [
      probe("\(day) \(month) *") { $0.day == day && $0.month == month },
      probe("\(day % 28 + 1) * \(weekday)") { $0.day == day % 28 + 1 || $0.weekday == weekday },
      probe("*/1 \(month) \(weekday)#\(ordinal)") {
        $0.month == month && $0.weekday == weekday && ($0.day - 1) / 7 + 1 == ordinal
      },
    ]
  }

  private static func lists(_ low: Moment, _ inside: Moment, _ high: Moment) -> [Probe] {
    let minutes = Set([low.minute, inside.minute, high.minute]).sorted()
    let hours = Set([low.hour, inside.hour, high.hour, (high.hour + 1) % 24]).sorted()
    let list =
      "\(minutes.map(String.init).joined(separator: ",")) \(hours.map(String.init).joined(separator: ","))"
    let first = min(inside.hour, 22)
    let (day, month) = (inside.day, inside.month)
    return [
      Probe("\(list) * * *", minutes: minutes, hours: hours),
      Probe("10-12,50 \(first)-\(first + 1) * * *", minutes: [10, 11, 12, 50], hours: [first, first + 1]),
      Probe("0-59 \(inside.hour) \(day) \(month) *", minutes: Array(0...59), hours: [inside.hour]) {
        $0.day == day && $0.month == month
      },
    ]
  }

  private static func intervals(_ inside: Moment, _ high: Moment) -> [Probe] {
    let (day, month) = (inside.day, inside.month)
    let all = Array(0...23)
    func probe(_ text: String, _ minutes: [Int], _ hours: [Int]) -> Probe {
      Probe("\(text) * * *", minutes: minutes, hours: hours, goesByTheClock: true)
    }
    return [
      probe("*/15 \(inside.hour)", [0, 15, 30, 45], [inside.hour]),
      probe("5-59/25 \(high.hour)", [5, 30, 55], [high.hour]),
      probe("\(inside.minute) *", [inside.minute], all),
      probe("\(high.minute) */2", [high.minute], Array(stride(from: 0, through: 23, by: 2))),
      probe("\(inside.minute),*/30 \(inside.hour)", Set([inside.minute, 0, 30]).sorted(), [inside.hour]),
      probe("* *", Array(0...59), all),
      Probe(
        "* \(inside.hour) \(day) \(month) *", minutes: Array(0...59), hours: [inside.hour],
        goesByTheClock: true
      ) {
        $0.day == day && $0.month == month
      },
    ]
  }

  private static func anything(near moment: Moment, using random: inout SplitMix64) -> Probe {
    let minutes = Set(
      (0...Int.random(in: 0...5, using: &random)).map { _ in Int.random(in: 0...59, using: &random) }
    )
    .sorted()
    let hours = Set(
      (0...Int.random(in: 0...3, using: &random)).map { _ in
        (moment.hour + Int.random(in: 21...26, using: &random)) % 24
      }
    ).sorted()
    let isInterval = Bool.random(using: &random)
    // A range with a step of one has the values of the range, and is a step.
    let hourText = hours.map { isInterval ? "\($0)-\($0)/1" : "\($0)" }.joined(separator: ",")
    return Probe(
      "\(minutes.map(String.init).joined(separator: ",")) \(hourText) * * *", minutes: minutes, hours: hours,
      goesByTheClock: isInterval)
  }
}
