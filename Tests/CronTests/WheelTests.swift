// What the wheel fires and in which order, and what it counts as missed when nobody looks.

import Testing
import Time

@testable import Cron

@Suite("The wheel")
struct WheelTests {
  @Test("fires the earliest first, and in the order of the schedules at one instant")
  func order() throws {
    var world = try WheelWorld("0 * * * *", "*/30 * * * *", "0 */2 * * *", at: "2026-11-23T00:30:00Z")
    let lines = world.run(for: .seconds(5400))
    #expect(
      lines == [
        "fired 1 2026-11-23T00:30:00Z",
        "fired 0 2026-11-23T01:00:00Z", "fired 1 2026-11-23T01:00:00Z",
        "fired 1 2026-11-23T01:30:00Z",
        "fired 0 2026-11-23T02:00:00Z", "fired 1 2026-11-23T02:00:00Z", "fired 2 2026-11-23T02:00:00Z",
      ])
  }

  @Test("an occurrence at the very moment of the start fires, and one before it is none of its business")
  func boundaryAtStart() throws {
    var onTime = try WheelWorld("* * * * *", at: "2026-11-23T04:05:00Z")
    #expect(onTime.takeAll() == ["fired 0 2026-11-23T04:05:00Z"])
    var late = try WheelWorld("* * * * *", at: "2026-11-23T04:05:00.000000001Z")
    #expect(late.takeAll() == [])
    #expect(late.wheel.due == (try WheelWorld.moment("2026-11-23T04:06:00Z")))
  }

  @Test("nothing is due before its time, not even by a nanosecond")
  func neverEarly() throws {
    var world = try WheelWorld("* * * * *", at: "2026-11-23T04:04:59.999999999Z")
    #expect(world.takeAll() == [])
    #expect(world.stall(for: .nanoseconds(1)) == ["fired 0 2026-11-23T04:05:00Z"])
    #expect(world.takeAll() == [])
  }

  @Test("less than the grace late is fired, the grace late is missed")
  func grace() throws {
    var inTime = try WheelWorld("5 4 * * *", at: "2026-11-23T04:00:00Z")
    #expect(
      inTime.stall(for: .seconds(300) + Wheel.grace - .nanoseconds(1)) == ["fired 0 2026-11-23T04:05:00Z"])
    var tooLate = try WheelWorld("5 4 * * *", at: "2026-11-23T04:00:00Z")
    #expect(tooLate.stall(for: .seconds(300) + Wheel.grace) == ["missed 0 1 2026-11-23T04:05:00Z"])
    #expect(tooLate.takeAll() == [])
  }

  @Test(
    "a stall is one missed event with its count, and then what is still in time",
    arguments: [
      (61, []), (239, ["missed 0 2 04:05", "fired 0 04:07"]), (240, ["missed 0 3 04:05", "fired 0 04:08"]),
      (299, ["missed 0 3 04:05", "fired 0 04:08"]), (3 * 3600, ["missed 0 179 04:05", "fired 0 07:04"]),
    ])
  func stall(seconds: Int, expected: [String]) throws {
    var world = try WheelWorld("* * * * *", at: "2026-11-23T04:04:00.000000001Z")
    let lines = world.stall(for: .seconds(seconds) - .nanoseconds(1))
    let short = lines.map { $0.replacing("2026-11-23T", with: "").replacing(":00Z", with: "") }
    #expect(short == (seconds == 61 ? ["fired 0 04:05"] : expected))
  }

  @Test("a stall of days is counted for each schedule by itself")
  func stallOfDays() throws {
    var world = try WheelWorld(
      "* * * * *", "*/15 * * * *", "0 6 * * *", "0 0 1 1 *", at: "2026-11-23T12:00:01Z")
    #expect(
      world.stall(for: .seconds(10 * 86_400)) == [
        "missed 0 14399 2026-11-23T12:01:00Z", "missed 1 959 2026-11-23T12:15:00Z",
        "missed 2 10 2026-11-24T06:00:00Z", "fired 0 2026-12-03T12:00:00Z", "fired 1 2026-12-03T12:00:00Z",
      ])
    #expect(world.run(for: .seconds(60)) == ["fired 0 2026-12-03T12:01:00Z"])
    #expect(world.wheel.pending(3)?.moment == (try WheelWorld.moment("2027-01-01T00:00:00Z")))
  }

  @Test("many schedules at one instant all fire, each once")
  func manyAtOnce() throws {
    let schedules = try (0..<1000).map { _ in try WheelWorld.schedule("0 * * * *") }
    var world = WheelWorld(schedules, at: try WheelWorld.moment("2026-11-23T04:00:00Z"))
    #expect(world.takeAll() == (0..<1000).map { "fired \($0) 2026-11-23T04:00:00Z" })
    #expect(world.run(for: .seconds(3599)) == [])
    #expect(
      world.stall(for: .seconds(7260)) == (0..<1000).map { "missed \($0) 2 2026-11-23T05:00:00Z" }
        + (0..<1000).map { "fired \($0) 2026-11-23T07:00:00Z" })
  }

  @Test("no schedules, or none that fires any more, is never due")
  func never() throws {
    var empty = WheelWorld([], at: try WheelWorld.moment("2026-11-23T04:00:00Z"))
    #expect(empty.wheel.due == nil)
    #expect(empty.stall(for: .seconds(86_400)) == [])
    #expect(empty.setClock(to: try WheelWorld.moment("1970-01-01T00:00:00Z")) == [])

    // What the zone knows ends before the next occurrence.
    let zone = Zone(
      name: "Short", offset: 0, transitions: [], end: try WheelWorld.moment("2026-11-23T05:00:00Z"))
    let schedules = [
      try WheelWorld.schedule("0 0 29 2 *", zone), try WheelWorld.schedule("*/30 * * * *", zone),
    ]
    var world = WheelWorld(schedules, at: try WheelWorld.moment("2026-11-23T04:10:00Z"))
    #expect(world.wheel.pending(0) == nil)
    #expect(world.run(for: .seconds(86_400)) == ["fired 1 2026-11-23T04:30:00Z"])
    #expect(world.wheel.due == nil)
    #expect(world.stall(for: .seconds(86_400)) == [])
    // Set back into what it knows, it goes on; what was fired stays fired.
    #expect(try world.setClock(to: "2026-11-23T03:50:00Z") == [])
    #expect(world.run(for: .seconds(86_400)) == ["fired 1 2026-11-23T04:00:00Z"])
  }

  @Test("a schedule that ends during a stall is counted to its end")
  func endsDuringStall() throws {
    let zone = Zone(
      name: "Short", offset: 0, transitions: [], end: try WheelWorld.moment("2026-11-23T05:00:00Z"))
    var world = WheelWorld(
      [try WheelWorld.schedule("*/10 * * * *", zone)], at: try WheelWorld.moment("2026-11-23T04:35:00Z"))
    #expect(world.stall(for: .seconds(86_400)) == ["missed 0 2 2026-11-23T04:40:00Z"])
    #expect(world.wheel.due == nil)
  }

  @Test("jitter delays each occurrence by what it draws, and the wheel is due then and not before")
  func jitter() throws {
    let schedule = try WheelWorld.schedule("0 * * * *", jitter: .seconds(1800))
    let start = try WheelWorld.moment("2026-11-23T04:00:00Z")
    var world = WheelWorld([schedule], at: start)
    var moment = start - .nanoseconds(1)
    for _ in 0..<100 {
      let occurrence = try #require(schedule.next(after: moment))
      #expect(world.wheel.due == occurrence.due)
      #expect(world.run(for: occurrence.due - world.now).count == 1)
      moment = occurrence.moment
    }
  }

  @Test("a start between an occurrence and its delayed moment still fires it, one after it does not")
  func startWithinJitter() throws {
    let schedule = try WheelWorld.schedule("0 4 * * *", jitter: .seconds(3600))
    let occurrence = try #require(schedule.next(after: try WheelWorld.moment("2026-11-23T00:00:00Z")))
    #expect(occurrence.due - occurrence.moment > .seconds(1))
    #expect(Wheel([schedule], at: occurrence.moment + .seconds(1)).due == occurrence.due)
    var onTime = WheelWorld([schedule], at: occurrence.due)
    #expect(onTime.takeAll() == ["fired 0 2026-11-23T04:00:00Z"])
    var late = WheelWorld([schedule], at: occurrence.due + .nanoseconds(1))
    #expect(late.takeAll() == [])
    #expect(late.wheel.pending(0)?.moment == (try WheelWorld.moment("2026-11-24T04:00:00Z")))
  }

  @Test("a jitter that is longer than the interval never lets one occurrence overtake the next")
  func jitterLongerThanInterval() throws {
    let schedule = try WheelWorld.schedule("* * * * *", jitter: Schedule.jitterLimit)
    var world = WheelWorld([schedule], at: try WheelWorld.moment("2026-11-23T04:00:00Z"))
    let lines = world.run(for: .seconds(3600))
    #expect(lines.prefix(2) == ["fired 0 2026-11-23T04:00:00Z", "fired 0 2026-11-23T04:01:00Z"])
    #expect(lines.count == 60 || lines.count == 61)
    #expect(lines.allSatisfy { $0.hasPrefix("fired") })
  }
}
