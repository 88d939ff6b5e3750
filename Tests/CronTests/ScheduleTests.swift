// The delay that jitter draws: how long it may be, and that it never changes.

import Testing
import Time

@testable import Cron

@Suite("A schedule")
struct ScheduleTests {
  /// The first occurrences from 2026 on.
  private func occurrences(
    _ count: Int, of text: String, name: String = "nightly", jitter: Duration, in zone: Zone = .utc
  ) throws -> [Schedule.Occurrence] {
    let schedule = Schedule(
      name: name, expression: try CronExpression(text), zone: zone, jitter: jitter)
    let start = try WheelWorld.moment("2025-12-31T23:59:59Z")
    return Array(
      sequence(state: start) { moment in
        let occurrence = schedule.next(after: moment)
        moment = occurrence?.moment ?? moment
        return occurrence
      }.prefix(count))
  }

  @Test("without jitter is due on the moment")
  func noJitter() throws {
    for occurrence in try occurrences(1000, of: "*/7 * * * *", jitter: .zero) {
      #expect(occurrence.due == occurrence.moment)
    }
    // Less than a millisecond is none.
    for occurrence in try occurrences(10, of: "@daily", jitter: .microseconds(999)) {
      #expect(occurrence.due == occurrence.moment)
    }
  }

  @Test("draws whole milliseconds below its jitter, all over the range")
  func range() throws {
    let jitter: Duration = .seconds(600)
    let delays = try occurrences(4000, of: "@hourly", jitter: jitter).map { $0.due - $0.moment }
    #expect(delays.allSatisfy { .zero <= $0 && $0 < jitter })
    #expect(delays.allSatisfy { $0.components.attoseconds % 1_000_000_000_000_000 == 0 })
    // 400 in each tenth, give or take 20 a standard deviation.
    for tenth in 0..<10 {
      let share = delays.count { Int($0.components.seconds) / 60 == tenth }
      #expect((300...500).contains(share), "tenth \(tenth): \(share)")
    }
  }

  @Test("draws the same for a name and a moment whenever it is asked, and in a zone that is read again")
  func stable() throws {
    let expected = try occurrences(100, of: "@hourly", jitter: .seconds(600))
    #expect(try occurrences(100, of: "@hourly", jitter: .seconds(600)) == expected)
    let again = Zone(name: "UTC", offset: 0, transitions: [], end: Zone.utc.end)
    #expect(try occurrences(100, of: "@hourly", jitter: .seconds(600), in: again) == expected)
    // By other words for the same hours, too: the moment counts, not the text.
    #expect(try occurrences(100, of: "0 0-23 * * *", jitter: .seconds(600)) == expected)
    // The draw is part of the interface: after an upgrade an occurrence must not come at another time.
    let first = try #require(expected.first)
    #expect(first.due.rfc3339 == "2026-01-01T00:05:21.188Z")
  }

  @Test("another name draws other delays")
  func names() throws {
    let one = try occurrences(100, of: "@hourly", name: "nightly", jitter: .seconds(600))
    for name in ["nightlz", "Nightly", "", "nightly2"] {
      let other = try occurrences(100, of: "@hourly", name: name, jitter: .seconds(600))
      #expect(zip(one, other).count { $0.due == $1.due } < 3, "\(name)")
    }
  }

  @Test(
    "an occurrence is due before the next one, however long the jitter and whatever is done to the clock",
    arguments: ["* * * * *", "*/20 * * * *", "10,50 * * * *", "10 1-3 * * *", "10,40 2,3 * * *"])
  func beforeTheNext(text: String) throws {
    // An hour left out at 02:00 and half an hour shown twice, in turns, a day apart.
    let midnight = try WheelWorld.moment("2026-01-01T00:00:00Z").secondsSinceEpoch
    var offset: Int64 = 0
    let transitions = (0..<30).map { (day: Int64) in
      let second = midnight + day * 86_400 + 7200 - offset
      offset += day % 2 == 0 ? 3600 : -1800
      return Zone.Transition(second: second, offset: offset)
    }
    let zone = Zone(name: "Restless", offset: 0, transitions: transitions, end: Zone.utc.end)
    let all = try occurrences(3000, of: text, jitter: Schedule.jitterLimit, in: zone)
    #expect(zip(all, all.dropFirst()).allSatisfy { $0.due < $1.moment })
  }

  @Test("what is due next is the first whose delayed moment has not passed, at every moment")
  func dueAtOrAfter() throws {
    for (text, jitter) in [
      ("*/10 * * * *", 600), ("*/10 * * * *", 86_400), ("0 5 * * *", 7200), ("@hourly", 0),
    ] {
      let all = try occurrences(200, of: text, jitter: .seconds(jitter))
      let schedule = Schedule(
        name: "nightly", expression: try CronExpression(text), zone: .utc, jitter: .seconds(jitter))
      for (earlier, later) in zip(all, all.dropFirst()) {
        #expect(schedule.next(dueAtOrAfter: earlier.due) == earlier)
        #expect(schedule.next(dueAtOrAfter: earlier.due + .nanoseconds(1)) == later)
        #expect(schedule.next(dueAtOrAfter: later.moment) == later)
      }
    }
  }
}
