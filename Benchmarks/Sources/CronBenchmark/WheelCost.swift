// What schedules cost on the wheel: to begin with, when one fires, at rest, and when the clock is set.

import Cron
import BenchmarkSupport
import Time

struct WheelCost {
  let zone: Zone
  let start: Timestamp

  func measure() throws {
    let sizes: [(count: Int, jitter: Duration)] = [
      (1, .zero), (1000, .zero), (100_000, .zero), (100_000, .seconds(300)),
    ]
    let heads = [
      "for each schedule", "insert", "due at rest", "fire and re-arm", "a day missed", "clock to 2099",
      "clock forward", "clock back",
    ]
    try printMemory(of: 100_000)
    printTable(heads, try sizes.map { try row($0.count, jitter: $0.jitter) })
  }

  /// It has to come before all that uses memory and frees it, which would hide what is used then.
  private func printMemory(of count: Int) throws {
    let before = residentBytes()
    var wheel = Wheel(try schedules(count, jitter: .seconds(300)), at: start)
    let fresh = residentBytes() - before
    while let due = wheel.due, due < start + .seconds(86_400) { consume(wheel.takeEvent(at: due)) }
    let later = residentBytes() - before
    print(
      "memory of \(count) schedules: \(fresh / count) B each, \(later / count) B after they ran for a day\n")
  }

  private func row(_ count: Int, jitter: Duration) throws -> [String] {
    func each(_ nanoseconds: Int64) -> String { inWords(nanoseconds: Double(nanoseconds) / Double(count)) }
    let schedules = try schedules(count, jitter: jitter)
    var wheel = Wheel(schedules, at: start)
    let insert = leastTime(of: 5) { wheel = Wheel(schedules, at: start) }
    let rest = leastTimeOfShort { consume(wheel.due) }
    // Five passes of as many events, of which the cheapest counts.
    let events = max(count, 10_000)
    var now = start
    let fire = leastTime(of: 5) { for _ in 0..<events { now = takeNext(of: &wheel, after: now) } }
    let forward = leastTime(of: 3) { wheel.clockWasSet(to: now) }
    // Back before everything that was fired, and a little further each time.
    var earlier = start
    let back = leastTime(of: 3) {
      earlier = earlier - .seconds(3600)
      wheel.clockWasSet(to: earlier)
    }
    return [
      "\(count)" + (jitter == .zero ? "" : ", jitter of 5 min"), each(insert), inWords(nanoseconds: rest),
      inWords(nanoseconds: Double(fire) / Double(events)), missing(schedules, days: 1),
      missing(schedules, days: 73 * 365), each(forward), each(back),
    ]
  }

  /// What it takes when so many days are missed at once, for each of the first schedules.
  private func missing(_ schedules: [Schedule], days: Int) -> String {
    let few = Array(schedules.prefix(1000))
    var wheel = Wheel(few, at: start)
    let time = leastTime(of: 1) {
      while let event = wheel.takeEvent(at: start + .seconds(days * 86_400 + 30)) { consume(event) }
    }
    return inWords(nanoseconds: Double(time) / Double(few.count))
  }

  /// Takes one event at the moment that it is due.
  private func takeNext(of wheel: inout Wheel, after now: Timestamp) -> Timestamp {
    guard let due = wheel.due, let event = wheel.takeEvent(at: max(now, due)) else {
      preconditionFailure("the wheel ran out of occurrences")
    }
    consume(event)
    return max(now, due)
  }

  /// What people write, spread over the day.
  private func schedules(_ count: Int, jitter: Duration) throws -> [Schedule] {
    try (0..<count).map { index in
      let (minute, hour) = (index % 60, index / 60 % 24)
      let text =
        switch index % 8 {
        case 0: "*/15 * * * *"
        case 1: "\(minute) * * * *"
        case 2: "\(minute) \(hour) * * 1-5"
        case 3: "\(minute) \(hour) 1,15 * *"
        case 4: "\(minute) \(hour) * * FRI#2"
        case 5: "\(minute) 0-23/2 L * *"
        default: "\(minute) \(hour) * * *"
        }
      return Schedule(
        name: "profile-\(index)", expression: try CronExpression(text), zone: zone, jitter: jitter)
    }
  }
}
