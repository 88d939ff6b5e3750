// What holds for the occurrences of any expression in any zone, and how much work it is to find them.

import Synchronization
import TestSupport
import Testing
import Time

@testable import Cron

@Suite("The occurrences of an expression")
struct OccurrenceTests {
  private static let second: Duration = .seconds(1)
  private static let nanosecond: Duration = .nanoseconds(1)

  @Test("the next one is strictly later, and there is none between")
  func next() throws {
    var random = SplitMix64(seed: 3)
    var found = 0
    for _ in 0..<6000 {
      let (expression, zone, moment) = try draw(using: &random)
      guard let next = expression.next(after: moment, in: zone) else { continue }
      found += 1
      let here = "\(expression) in \(zone.name) after \(moment.rfc3339Nanoseconds)"
      try #require(next > moment, "\(here)")
      try #require(next.secondsSinceEpoch % 60 == 0, "\(here)")
      try #require(expression.next(atOrAfter: next, in: zone) == next, "\(here)")
      try #require(expression.next(after: next - Self.nanosecond, in: zone) == next, "\(here)")
      try #require([next, moment].contains(expression.next(atOrAfter: moment, in: zone)), "\(here)")
      try #require(expression.next(atOrAfter: moment + Self.nanosecond, in: zone) == next, "\(here)")
      try #require(expression.count(after: moment, through: next, in: zone) == 1, "\(here)")
      try #require(expression.count(after: moment, through: next - Self.nanosecond, in: zone) == 0, "\(here)")
    }
    #expect(found > 5000)
  }

  @Test("counting a range gives what going through it gives")
  func count() throws {
    var random = SplitMix64(seed: 4)
    var total = 0
    for _ in 0..<1500 {
      let (expression, zone, start) = try draw(using: &random)
      // About as many occurrences, however far they lie apart.
      var last = start
      var steps = 0
      for _ in 0..<Int.random(in: 0...60, using: &random) {
        guard let next = expression.next(after: last, in: zone) else { break }
        (last, steps) = (next, steps + 1)
      }
      let here = "\(expression) in \(zone.name) from \(start) to \(last)"
      try #require(expression.count(after: start, through: last, in: zone) == steps, "\(here)")
      let middle = start + .nanoseconds((last - start) / .nanoseconds(2))
      let halves =
        expression.count(after: start, through: middle, in: zone)
        + expression.count(after: middle, through: last, in: zone)
      try #require(halves == steps, "\(here)")
      total += steps
    }
    #expect(total > 30_000)
  }

  @Test("a range that is empty or runs backwards has none")
  func emptyRange() throws {
    let expression = try CronExpression("* * * * *")
    let moment = Timestamp(secondsSinceEpoch: InstalledZones.start)
    #expect(expression.count(after: moment, through: moment, in: .utc) == 0)
    #expect(expression.count(after: moment + .seconds(600), through: moment, in: .utc) == 0)
    #expect(expression.count(after: moment - Self.nanosecond, through: moment, in: .utc) == 1)
  }

  @Test("a fixed time has one occurrence for each local day of 21 years, in every zone")
  func oncePerDay() throws {
    var random = SplitMix64(seed: 5)
    for entry in InstalledZones.all {
      let hour = Int.random(in: 0...23, using: &random)
      let expression = try CronExpression("\(Int.random(in: 0...59, using: &random)) \(hour) * * *")
      // From one local noon to another; no zone leaves out a day between them.
      let first = entry.zone.moment(ofLocal: Timestamp(secondsSinceEpoch: InstalledZones.start + 43_200))
      let last = entry.zone.moment(ofLocal: Timestamp(secondsSinceEpoch: InstalledZones.end + 43_200))
      let days = Int((InstalledZones.end - InstalledZones.start) / 86_400)
      try #require(
        expression.count(after: first, through: last, in: entry.zone) == days,
        "\(expression) in \(entry.name)")
    }
  }

  @Test("nothing is found after what the zone knows, and everything before")
  func end() throws {
    let end = Timestamp(secondsSinceEpoch: seconds("2027-01-01T00:00:00Z"))
    let zone = Zone(name: "short", offset: 0, transitions: [], end: end)
    let expression = try CronExpression("0 * * * *")
    #expect(expression.next(after: end - .seconds(7200), in: zone) == end - .seconds(3600))
    #expect(expression.next(after: end - .seconds(3600), in: zone) == nil)
    #expect(expression.next(atOrAfter: end, in: zone) == nil)
    #expect(expression.next(after: end + .seconds(86_400), in: zone) == nil)
    #expect(expression.count(after: end - .seconds(7200), through: end + .seconds(86_400), in: zone) == 1)
  }

  @Test("the rarest expression is found in every zone that is read when it is asked for")
  func rarest() throws {
    // Across 2100, which has no leap day: 29 February is a Sunday in 2088 and then in 2128.
    let zone = try SystemZone(
      "Europe/Berlin", around: Timestamp(secondsSinceEpoch: seconds("2088-03-01T00:00:00Z")))
    let expression = try CronExpression("0 0 29 2 */7")
    let next = expression.next(
      after: Timestamp(secondsSinceEpoch: seconds("2088-03-01T00:00:00Z")), in: zone.zone)
    #expect(next?.secondsSinceEpoch == seconds("2128-02-28T23:00:00Z"))
  }

  /// An expression, a zone and a moment, one in two near a transition.
  private func draw(using random: inout SplitMix64) throws -> (CronExpression, Zone, Timestamp) {
    let zone = try #require(InstalledZones.distinct.randomElement(using: &random)).zone
    let transitions = zone.transitions(in: InstalledZones.start..<InstalledZones.end)
    var second = Int64.random(in: InstalledZones.start..<InstalledZones.end, using: &random)
    if let near = transitions.randomElement(using: &random), Bool.random(using: &random) {
      second = near.second + Int64.random(in: -10_000...10_000, using: &random)
    }
    let fraction = [0, 1, 999_999_999].randomElement(using: &random) ?? 0
    let moment = Timestamp(secondsSinceEpoch: second) + .nanoseconds(fraction)
    return (CronExpression.random(using: &random), zone, moment)
  }
}

#if DEBUG
  @Suite("The work of finding an occurrence")
  struct WorkTests {
    /// The rarest find nothing in all the years that a zone knows, and look at few months of each: where an expression
    /// matches a day in many months, one of those days is no day of a change. At some 60 ns a month a search is then
    /// far from the millisecond that it may take.
    private static let monthLimit = 51 * 4

    /// Intervals in hours that a change of the clock leaves out, on the one day that it does: never, or not for years.
    private static let worst = [
      "*/15 2 * 3 SUNL", "*/15 2 25-31 3 */7", "*/15 2 31 3 */7", "*/15 2 8-14 3 */7", "*/15 2 * 3 SUN#2",
      "*/15 0 * 3,4,9,10 */7", "*/15 2 * 10 SUN#1", "*/15 0 * 9 SUN#1", "*/5 0 29 2 */7", "*/5 2 */28 2 0#5",
      "0 0 29 2 */7", "0 0 */28 2 6#5", "30 2 29W 2 *", "15 2 15W 2 */7", "* 2 * 3 0L",
      "0-59/1 2 L,LW,1W 3 */7",
    ]

    @Test("the rarest expression looks at four months a year at most, up to the horizon of its zone")
    func bounded() throws {
      var random = SplitMix64(seed: 6)
      var most = (months: 0, what: "")
      let texts = Self.worst + (0..<60).map { _ in CronExpression.rare(using: &random) }
      for expression in texts.compactMap({ try? CronExpression($0) }) {
        for entry in InstalledZones.distinct {
          // From the beginning of what the zone knows: nobody has to look further.
          let start = Timestamp(secondsSinceEpoch: InstalledZones.start)
          let months = monthsLookedAt { _ = expression.next(after: start, in: entry.zone) }
          if months > most.months { most = (months, "\(expression) in \(entry.name)") }
        }
      }
      print("the most work: \(most.months) months for \(most.what)")
      #expect(most.months <= Self.monthLimit)
      #expect(most.months >= 50, "it counts")
    }

    private func monthsLookedAt(by body: () -> Void) -> Int {
      let count = Counter()
      CronExpression.$onMonth.withValue({ count.add() }, operation: body)
      return count.value
    }

    private final class Counter: Sendable {
      private let months = Atomic(0)
      var value: Int { months.load(ordering: .relaxed) }
      func add() { months.add(1, ordering: .relaxed) }
    }
  }
#endif
