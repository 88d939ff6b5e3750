// Every transition of every zone between 2020 and 2040, against the oracle: what fires around it, and what does not.

import TestSupport
import Testing
import Time

@testable import Cron

@Suite("Around every transition of every zone")
struct TransitionTests {
  /// To each side of a transition: a day and the length of any change.
  private static let reach: Int64 = 30 * 3600
  /// Where every minute fires, a day of them says no more than some hours do.
  private static let denseReach: Int64 = 4 * 3600
  /// The oracle sees whole days on both sides of that.
  private static let view: Int64 = 78 * 3600
  /// So that several cores have something to do.
  private static let slices = 4

  @Test(
    "an expression fires when the clock on the wall says so, not once more and not once less",
    arguments: 0..<slices)
  func everyTransition(slice: Int) throws {
    var transitions = 0
    var occurrences = 0
    for (index, entry) in InstalledZones.distinct.enumerated() where index % Self.slices == slice {
      var random = SplitMix64(seed: UInt64(index))
      for transition in entry.zone.transitions(in: InstalledZones.start..<InstalledZones.end) {
        let second = transition.second
        let start = second.dividedDown(by: 3600) * 3600 - Self.view
        let clock = LocalClock(zone: entry.name, from: start, hours: 2 * Self.view / 3600)
        for probe in Probe.around(second, on: clock, using: &random) {
          let reach = probe.minutes.count * probe.hours.count > 96 ? Self.denseReach : Self.reach
          occurrences += try probe.check(entry.zone, against: clock, in: second - reach...second + reach)
        }
        try clock.checkMoments(of: entry.zone, around: second)
        transitions += 1
      }
    }
    #expect(transitions > 200)
    #expect(occurrences > 10 * transitions)
  }
}

extension LocalClock {
  /// Compares the moments of local times in and around a change with those at which the clock shows them.
  func checkMoments(of zone: Zone, around second: Int64) throws {
    let index = Int((second - start) / tick)
    for shown in stride(from: local[index - 1] - 5400, through: local[index] + 5400, by: 900) {
      let moment = zone.moment(ofLocal: Timestamp(secondsSinceEpoch: shown))
      try #require(
        moment.secondsSinceEpoch == firstInstant(atOrPast: shown), "\(shown) in \(zone.name) around \(second)"
      )
    }
  }
}
