// What the wheel does when somebody sets the clock, or when a zone changes.

import Testing
import Time

@testable import Cron

@Suite("The wheel when the clock is set")
struct WheelClockTests {
  @Test("forward over occurrences: they are counted, not fired")
  func forward() throws {
    var world = try WheelWorld("*/10 * * * *", at: "2026-11-23T04:00:00Z")
    #expect(world.takeAll().count == 1)
    #expect(try world.setClock(to: "2026-11-23T05:05:00Z") == ["missed 0 6 2026-11-23T04:10:00Z"])
    #expect(world.run(for: .seconds(600)) == ["fired 0 2026-11-23T05:10:00Z"])
  }

  @Test("forward to just behind an occurrence: it is fired")
  func forwardWithinGrace() throws {
    var world = try WheelWorld("*/10 * * * *", at: "2026-11-23T04:01:00Z")
    #expect(
      try world.setClock(to: "2026-11-23T04:20:59.999999999Z") == [
        "missed 0 1 2026-11-23T04:10:00Z", "fired 0 2026-11-23T04:20:00Z",
      ])
  }

  @Test("forward between two occurrences: nothing happens")
  func forwardBetween() throws {
    var world = try WheelWorld("0 * * * *", at: "2026-11-23T04:01:00Z")
    #expect(try world.setClock(to: "2026-11-23T04:59:59Z") == [])
    #expect(world.run(for: .seconds(1)) == ["fired 0 2026-11-23T05:00:00Z"])
  }

  @Test("back over fired occurrences: they are not fired again, what was not fired is")
  func back() throws {
    var world = try WheelWorld("*/10 * * * *", at: "2026-11-23T04:05:00Z")
    #expect(world.run(for: .seconds(3600)).count == 6)
    #expect(try world.setClock(to: "2026-11-23T03:45:00Z") == [])
    #expect(
      world.run(for: .seconds(2 * 3600)) == [
        "fired 0 2026-11-23T03:50:00Z", "fired 0 2026-11-23T04:00:00Z", "fired 0 2026-11-23T05:10:00Z",
        "fired 0 2026-11-23T05:20:00Z", "fired 0 2026-11-23T05:30:00Z", "fired 0 2026-11-23T05:40:00Z",
      ])
  }

  @Test("to the very moment of a fired occurrence, again and again: it stays fired once")
  func toTheMoment() throws {
    var world = try WheelWorld("*/10 * * * *", at: "2026-11-23T04:10:00Z")
    #expect(world.takeAll() == ["fired 0 2026-11-23T04:10:00Z"])
    for _ in 0..<20 { #expect(try world.setClock(to: "2026-11-23T04:10:00Z") == []) }
    #expect(try world.setClock(to: "2026-11-23T04:20:00Z") == ["fired 0 2026-11-23T04:20:00Z"])
  }

  @Test("forward and back again: what was missed is fired when the clock comes to it")
  func forwardAndCorrected() throws {
    var world = try WheelWorld("*/10 * * * *", at: "2026-11-23T04:00:00Z")
    #expect(world.takeAll().count == 1)
    #expect(
      try world.setClock(to: "2026-11-24T04:00:30Z") == [
        "missed 0 143 2026-11-23T04:10:00Z", "fired 0 2026-11-24T04:00:00Z",
      ])
    #expect(try world.setClock(to: "2026-11-23T04:00:30Z") == [])
    // The day as usual, but for the one that was fired when the clock was wrong.
    let day = world.run(for: .seconds(86_400))
    #expect(day.count == 143)
    #expect(day.first == "fired 0 2026-11-23T04:10:00Z")
    #expect(day.last == "fired 0 2026-11-24T03:50:00Z")
    #expect(world.run(for: .seconds(600)) == ["fired 0 2026-11-24T04:10:00Z"])
  }

  @Test("to 1970, as by a machine without a battery, and corrected")
  func to1970() throws {
    var world = try WheelWorld("0 * * * *", "0 3 * * *", at: "2026-11-23T04:00:00Z")
    #expect(world.takeAll() == ["fired 0 2026-11-23T04:00:00Z"])
    #expect(try world.setClock(to: "1970-01-01T00:00:00Z") == ["fired 0 1970-01-01T00:00:00Z"])
    #expect(
      world.run(for: .seconds(3 * 3600 + 60)) == [
        "fired 0 1970-01-01T01:00:00Z", "fired 0 1970-01-01T02:00:00Z", "fired 0 1970-01-01T03:00:00Z",
        "fired 1 1970-01-01T03:00:00Z",
      ])
    // Days from 1970-01-01 to 2026-11-23; 04:00 of the last one has been fired.
    let days = 20_780
    #expect(
      try world.setClock(to: "2026-11-23T04:30:00Z") == [
        "missed 0 \(days * 24) 1970-01-01T04:00:00Z", "missed 1 \(days) 1970-01-02T03:00:00Z",
      ])
    #expect(world.run(for: .seconds(3600)) == ["fired 0 2026-11-23T05:00:00Z"])
  }

  @Test("a start in 1970 that is corrected")
  func startIn1970() throws {
    var world = try WheelWorld("0 0 1 1 *", at: "1970-01-01T00:00:07Z")
    #expect(try world.setClock(to: "2026-11-23T04:30:00Z") == ["missed 0 56 1971-01-01T00:00:00Z"])
    #expect(world.run(for: .seconds(40 * 86_400)) == ["fired 0 2027-01-01T00:00:00Z"])
  }

  @Test("to 2099, beyond what the zones know, and corrected")
  func to2099() throws {
    let end = try WheelWorld.moment("2076-01-01T00:00:00Z")
    let zone = Zone(name: "Here", offset: 3600, transitions: [], end: end)
    let schedules = [
      try WheelWorld.schedule("0 0 1 1 *", zone), try WheelWorld.schedule("* * * * *", zone),
      try WheelWorld.schedule("0 * * * *", zone, jitter: .seconds(1800)),
    ]
    var world = WheelWorld(schedules, at: try WheelWorld.moment("2026-12-31T22:59:30Z"))
    #expect(world.run(for: .seconds(15)).filter { !$0.hasPrefix("fired 2") } == [])
    let now = world.now
    let years = 2076 - 2026
    let minutes = Int((end - now).components.seconds) / 60
    let missed = try world.setClock(to: "2099-01-01T00:00:00Z").sorted()
    #expect(
      missed.prefix(2) == [
        "missed 0 \(years) 2026-12-31T23:00:00Z", "missed 1 \(minutes) 2026-12-31T23:00:00Z",
      ])
    #expect(missed.count == 3)
    #expect(world.wheel.due == nil)
    #expect(world.setClock(to: now) == [])
    let lines = world.run(for: .seconds(60))
    #expect(
      lines.filter { !$0.contains("fired 2") } == [
        "fired 0 2026-12-31T23:00:00Z", "fired 1 2026-12-31T23:00:00Z",
      ])
  }

  @Test("by many small steps around an occurrence: it is fired once, and so is the next one")
  func smallSteps() throws {
    var world = try WheelWorld("*/5 * * * *", at: "2026-11-23T04:04:59Z")
    let start = world.now
    var lines: [String] = []
    // The last one ends 881 ms behind the occurrence.
    for step in 0..<200 {
      lines += world.setClock(to: start + .milliseconds(step * 7919 % 2000))
    }
    #expect(lines == ["fired 0 2026-11-23T04:05:00Z"])
    #expect(
      world.run(for: .seconds(600)) == ["fired 0 2026-11-23T04:10:00Z", "fired 0 2026-11-23T04:15:00Z"])
  }

  @Test("by a small step back after each occurrence, for as long as one likes: nothing is lost")
  func stepsBackForEver() throws {
    var world = try WheelWorld("0 * * * *", at: "2026-11-23T04:30:00Z")
    // More steps than stretches are remembered: stretches that touch each other are one.
    for _ in 0..<3 * WheelEntry.stretchLimit {
      #expect(world.run(for: .seconds(1800)).count == 1)
      #expect(world.setClock(to: world.now - .seconds(1)) == [])
      #expect(world.run(for: .seconds(1801)) == [])
    }
    // One night of them was missed, and is made up for when the clock is set back.
    #expect(world.stall(for: .seconds(5 * 3600 + 60)).count == 1)
    for _ in 0..<3 * WheelEntry.stretchLimit {
      #expect(world.run(for: .seconds(3600)).count == 1)
      #expect(world.setClock(to: world.now - .seconds(120)) == [])
      #expect(world.run(for: .seconds(120)) == [])
    }
    #expect(world.setClock(to: world.now - .seconds(60 * 86_400)) == [])
    let again = world.run(for: .seconds(60 * 86_400))
    #expect(again.count == 60 * 24 - 2 * 3 * WheelEntry.stretchLimit)
  }

  @Test("more breaks than are remembered: the shortest ones are not made up for, and nothing is fired twice")
  func moreBreaksThanRemembered() throws {
    var world = try WheelWorld("* * * * *", at: "2026-11-23T00:00:30Z")
    // Breaks of 1, 2, … occurrences. Two of them are too many.
    var breaks: [[String]] = []
    for minutes in 2...WheelEntry.stretchLimit + 2 {
      _ = world.run(for: .seconds(60))
      world.pass(.seconds(60 * minutes))
      guard case .missed(0, let count, let first) = world.takeOne() else {
        Issue.record("nothing was missed")
        return
      }
      breaks.append((0..<count).map { "fired 0 " + WheelWorld.short(first + .seconds(60 * $0)) })
      #expect(world.takeAll().count == 1)
    }
    #expect(breaks.map(\.count) == Array(1...WheelEntry.stretchLimit + 1))
    let end = world.now
    #expect(try world.setClock(to: "2026-11-23T00:00:30Z") == [])
    #expect(world.run(for: end - world.now) == breaks.dropFirst(2).flatMap { $0 })
  }

  @Test("a break that was made up for is none any more")
  func madeUpFor() throws {
    let day: Duration = .seconds(86_400)
    var world = try WheelWorld("0-4 0 * * *", at: "2026-11-01T12:00:00Z")
    let start = world.now
    // Every other day is missed, and then made up for.
    for _ in 0..<4 {
      #expect(world.run(for: day).count == 5)
      #expect(world.stall(for: day).count == 1)
    }
    #expect(world.run(for: day).count == 5)
    let end = world.now
    #expect(world.setClock(to: start) == [])
    #expect(world.run(for: end - start).count == 20)
    // That leaves room for breaks that are much shorter than a night: two minutes of each day.
    for _ in 1..<WheelEntry.stretchLimit {
      #expect(world.run(for: day / 2 + .seconds(30)).count == 1)
      #expect(world.stall(for: .seconds(150)).count == 2)
      #expect(world.run(for: day / 2 - .seconds(180)).count == 1)
    }
    let again = world.now
    #expect(world.setClock(to: end) == [])
    #expect(world.run(for: again - end).count == 2 * (WheelEntry.stretchLimit - 1))
  }

  @Test("back while a delayed occurrence is pending: it comes at the same moment as before")
  func backWithJitter() throws {
    let schedule = try WheelWorld.schedule("0 * * * *", jitter: .seconds(3600))
    let start = try WheelWorld.moment("2026-11-23T03:59:00Z")
    let occurrence = try #require(schedule.next(after: start))
    let delay = occurrence.due - occurrence.moment
    #expect(delay > .seconds(60))
    for back in [occurrence.moment - .seconds(1), occurrence.moment, occurrence.moment + delay / 4] {
      var world = WheelWorld([schedule], at: start)
      _ = world.run(for: occurrence.moment + delay / 2 - start)
      #expect(world.wheel.due == occurrence.due)
      #expect(world.setClock(to: back) == [])
      #expect(world.wheel.due == occurrence.due)
      #expect(world.run(for: occurrence.due - back) == ["fired 0 2026-11-23T04:00:00Z"])
      #expect(world.setClock(to: back) == [])
      #expect(world.wheel.pending(0)?.moment == (try WheelWorld.moment("2026-11-23T05:00:00Z")))
    }
  }

  @Test("forward over a delayed moment and corrected to before it: it is counted, and then fired after all")
  func forwardWithJitter() throws {
    let schedule = try WheelWorld.schedule("0 4 * * *", jitter: .seconds(3600))
    let occurrence = try #require(schedule.next(after: try WheelWorld.moment("2026-11-23T03:59:00Z")))
    var world = WheelWorld([schedule], at: occurrence.due - .seconds(20))
    #expect(occurrence.moment < world.now)
    let before = world.now
    #expect(world.setClock(to: occurrence.due + .seconds(60)) == ["missed 0 1 2026-11-23T04:00:00Z"])
    #expect(world.setClock(to: before) == [])
    #expect(world.run(for: .seconds(20)) == ["fired 0 2026-11-23T04:00:00Z"])
  }

  @Test("set while events wait to be taken: those still come, and are counted once")
  func setWhileEventsWait() throws {
    var world = try WheelWorld("0 * * * *", "*/30 * * * *", at: "2026-11-23T03:50:00Z")
    world.pass(.seconds(630))
    #expect(world.takeOne().map(WheelWorld.text) == "fired 0 2026-11-23T04:00:00Z")
    world.setClockOnly(to: try WheelWorld.moment("2026-11-23T04:01:30Z"))
    #expect(world.takeAll() == ["missed 1 1 2026-11-23T04:00:00Z"])
    world.setClockOnly(to: try WheelWorld.moment("2026-11-23T04:00:30Z"))
    #expect(world.takeAll() == [])
    #expect(world.run(for: .seconds(1770)) == ["fired 1 2026-11-23T04:30:00Z"])
  }

  // MARK: Zones

  @Test("another version of a zone moves its schedules and no others")
  func zoneReplaced() throws {
    let end = Zone.utc.end
    let old = Zone(name: "Europe/Nowhere", offset: 3600, transitions: [], end: end)
    let new = Zone(name: "Europe/Nowhere", offset: 7200, transitions: [], end: end)
    var world = WheelWorld(
      [try WheelWorld.schedule("0 12 * * *", old), try WheelWorld.schedule("0 12 * * *")],
      at: try WheelWorld.moment("2026-11-23T08:00:00Z"))
    #expect(world.wheel.due == (try WheelWorld.moment("2026-11-23T11:00:00Z")))
    world.replaceZones([0: new])
    #expect(
      world.run(for: .seconds(86_400)) == ["fired 0 2026-11-23T10:00:00Z", "fired 1 2026-11-23T12:00:00Z"])
    // Back again: noon comes a second time on that day, but no instant does.
    world.replaceZones([0: old])
    #expect(
      world.run(for: .seconds(86_400)) == ["fired 0 2026-11-24T11:00:00Z", "fired 1 2026-11-24T12:00:00Z"])
  }

  @Test("a zone that is replaced leaves an occurrence that has come, delayed or overdue")
  func zoneReplacedWithPending() throws {
    let old = Zone(name: "Here", offset: 0, transitions: [], end: Zone.utc.end)
    let new = Zone(name: "Here", offset: 1800, transitions: [], end: Zone.utc.end)
    let schedule = try WheelWorld.schedule("0 * * * *", old, jitter: .seconds(3600))
    let occurrence = try #require(schedule.next(after: try WheelWorld.moment("2026-11-23T04:59:59Z")))
    var world = WheelWorld([schedule], at: occurrence.moment)
    world.pass((occurrence.due - occurrence.moment) / 2)
    world.replaceZones([0: new])
    #expect(world.wheel.due == occurrence.due)
    world.pass(.seconds(7200))
    world.replaceZones([0: old])
    world.replaceZones([0: new])
    // 05:00, then 05:30 and 06:30 by the new version, as far as they were due a minute ago.
    let missed = try #require(world.takeAll().first)
    #expect(missed.hasPrefix("missed 0 ") && missed.hasSuffix(" 2026-11-23T05:00:00Z"))
    #expect(world.takeAll() == [])
  }

  @Test("a zone that is read again makes its schedules go on past the end of what the old one knew")
  func zoneExtended() throws {
    let old = Zone(
      name: "Here", offset: 0, transitions: [], end: try WheelWorld.moment("2026-11-23T05:00:00Z"))
    let new = Zone(
      name: "Here", offset: 0, transitions: [], end: try WheelWorld.moment("2027-11-23T05:00:00Z"))
    var world = WheelWorld(
      [try WheelWorld.schedule("0 * * * *", old)], at: try WheelWorld.moment("2026-11-23T04:00:00Z"))
    #expect(world.run(for: .seconds(3600)) == ["fired 0 2026-11-23T04:00:00Z"])
    #expect(world.wheel.due == nil)
    world.replaceZones([0: new])
    #expect(world.takeAll() == ["fired 0 2026-11-23T05:00:00Z"])
    #expect(world.run(for: .seconds(3600)) == ["fired 0 2026-11-23T06:00:00Z"])
  }
}
