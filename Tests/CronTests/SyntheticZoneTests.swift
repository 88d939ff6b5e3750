// Changes of the clock that no zone has had between 2020 and 2040, and some that none has ever had.

import TestSupport
import Testing
import Time

@testable import Cron

@Suite("In a zone with unheard-of changes")
struct SyntheticZoneTests {
  /// A zone as the second at which the clock is changed, counted from `noon`, and the seconds that it is then ahead.
  struct Story: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let ahead: Int64
    let changes: [(after: Int64, ahead: Int64)]

    init(_ name: String, ahead: Int64, _ changes: (after: Int64, ahead: Int64)...) {
      (testDescription, self.ahead, self.changes) = (name, ahead, changes)
    }

    /// Noon in UTC on a Sunday that is the last of its month but three days.
    static let noon = seconds("2027-06-27T12:00:00Z")

    var zone: Zone {
      Zone(
        name: testDescription, offset: ahead,
        transitions: changes.map { Zone.Transition(second: Self.noon + $0.after, offset: $0.ahead) },
        end: Timestamp(secondsSinceEpoch: Self.noon + 400 * 86_400))
    }

    /// Whether there is something that does not happen on a whole minute.
    var isOdd: Bool { ([ahead] + changes.flatMap { [$0.after, $0.ahead] }).contains { $0 % 60 != 0 } }

    /// What the clock shows at every tick of some days on both sides.
    func clock(reach: Int64) -> LocalClock {
      let tick: Int64 = isOdd ? 1 : 60
      let instants = stride(from: Self.noon - reach, to: Self.noon + reach, by: Int(tick))
      return LocalClock(
        start: Self.noon - reach, tick: tick,
        local: instants.map { instant in
          instant + (changes.last { instant >= Self.noon + $0.after }?.ahead ?? ahead)
        })
    }
  }

  private static let hour: Int64 = 3600
  private static let midnight: Int64 = 12 * 3600

  static let stories = [
    Story("a day left out at midnight", ahead: -10 * hour, (10 * hour + midnight, 14 * hour)),
    Story("a day left out from ten to ten", ahead: -10 * hour, (8 * hour, 14 * hour)),
    Story("a day repeated from midnight on", ahead: 14 * hour, (-2 * hour, -10 * hour)),
    Story("a day repeated from three in the afternoon on", ahead: 14 * hour, (hour, -10 * hour)),
    Story("two days left out, one of them as a whole", ahead: -86_340, (-hour, 86_340)),
    Story("two days repeated", ahead: 86_340, (0, -86_340)),
    Story("a gap over midnight", ahead: 0, (midnight - 1800, hour)),
    Story("an hour twice over midnight", ahead: 0, (midnight + 1800, -hour)),
    Story("a gap that ends at midnight", ahead: 0, (midnight - hour, hour)),
    Story("a gap that begins at midnight", ahead: 0, (midnight, hour)),
    Story("the hour before midnight twice", ahead: hour, (midnight - hour, 0)),
    Story("half an hour left out", ahead: 0, (-hour, 1800)),
    Story("half an hour twice", ahead: 1800, (-hour, 0)),
    Story("a minute left out", ahead: 0, (-60, 0), (0, 60)),
    Story("back into the gap half an hour later", ahead: 0, (0, hour), (1800, 0)),
    Story("back into the gap two hours later", ahead: 0, (0, 2 * hour), (3 * hour, 0)),
    Story("into the hour shown twice and out of it", ahead: hour, (0, 0), (1800, hour)),
    Story("forward after back, further than before", ahead: hour, (0, 0), (1800, 3 * hour)),
    Story("two gaps in an hour", ahead: 0, (0, hour), (1800, 2 * hour)),
    Story("the same hour three times", ahead: 2 * hour, (0, hour), (hour, 0)),
    Story("three changes within an hour", ahead: 0, (0, hour), (600, -hour), (2400, 1800)),
    Story("a change that changes nothing", ahead: hour, (0, hour), (hour, 0)),
    Story("an odd gap at an odd second", ahead: 17, (1234, 3217)),
    Story("an odd repetition at an odd second", ahead: 3333, (1799, 11)),
    Story("seconds left out", ahead: -1, (-1, 29)),
    Story("seconds twice, over midnight", ahead: 30, (midnight + 5, -7)),
  ]

  @Test("an expression fires when the clock says so, not once more and not once less", arguments: stories)
  func everyStory(story: Story) throws {
    let zone = story.zone
    // The odd ones change by less than an hour, and have every second looked at.
    let days: Int64 = story.isOdd ? 1 : 3
    let clock = story.clock(reach: (2 * days + 1) * 86_400)
    var random = SplitMix64(seed: 7)
    var occurrences = 0
    for change in story.changes {
      let second = Story.noon + change.after
      for probe in Probe.around(second, on: clock, using: &random) {
        let reach = probe.minutes.count * probe.hours.count > 96 ? 5 * 3600 : days * 86_400
        occurrences += try probe.check(zone, against: clock, in: second - reach...second + reach)
      }
      try clock.checkMoments(of: zone, around: second)
    }
    #expect(occurrences > 100)
  }
}
