// Random schedules in a random world: what must hold whatever happens, and the naive model as the judge.

import TestSupport
import Testing
import Time

@testable import Cron

private struct Dice: RandomNumberGenerator {
  private var generator: SplitMix64

  init(_ seed: Int) { generator = SplitMix64(seed: UInt64(seed)) }

  mutating func next() -> UInt64 { generator.next() }

  mutating func pick<Element>(_ elements: [Element]) -> Element {
    elements[Int.random(in: elements.indices, using: &self)]
  }

  /// Zero often, else of any magnitude up to a limit.
  mutating func duration(upTo limit: Int64) -> Duration {
    let magnitude = pick([0, 1, 999_999_999, 1_000_000_000, 60_000_000_000, 3_600_000_000_000, limit])
    return .nanoseconds(Int64.random(in: 0...min(magnitude, limit), using: &self))
  }

  /// An offset that changes every few days by up to a day, often by an hour.
  mutating func zone(around start: Timestamp) -> Zone {
    guard pick([true, true, false]) else { return .utc }
    var second = start.secondsSinceEpoch - 10 * 86_400
    var transitions: [Zone.Transition] = []
    for _ in 0..<20 {
      second += Int64.random(in: 3600...3 * 86_400, using: &self)
      if pick([true, false]) { second -= second % 3600 }
      let offset: Int64 = pick([0, 3600, -3600, 7200, 1800, -12 * 3600, 14 * 3600, 4027, 86_399])
      transitions.append(Zone.Transition(second: second, offset: offset))
    }
    return Zone(
      name: "Random", offset: pick([0, 3600, -7200]), transitions: transitions,
      end: Timestamp(secondsSinceEpoch: second + pick([60, 34_560_000])))
  }

  mutating func schedules(around start: Timestamp) throws -> [Schedule] {
    let expressions = [
      "* * * * *", "*/7 * * * *", "*/20 */3 * * *", "0 * * * *", "30 2 * * *", "15,45 1-4 * * *", "@daily",
      "@weekly", "0 0 L * *", "59 23 * * 1-5", "0 0 29 2 *", "10,50 2,3 * * *", "0-4 0 * * *",
    ]
    return try (0..<pick([1, 2, 5])).map { _ in
      let text = pick(expressions)
      // Some are twins, which then are due at the same moments.
      return Schedule(
        name: pick(["one", "two", "three"]), expression: try CronExpression(text), zone: zone(around: start),
        jitter: pick([.zero, .zero, .milliseconds(1), .seconds(30), .seconds(600), Schedule.jitterLimit]))
    }
  }
}

/// A random world and the model of it.
private struct RandomWorld {
  var dice: Dice
  let start: Timestamp
  let schedules: [Schedule]
  var world: WheelWorld
  var model: WheelModel
  /// Every event so far.
  var events: [Wheel.Event] = []

  /// - Parameter regular: a schedule that is always there, so that something happens.
  init(seed: Int, with regular: String? = nil) throws {
    dice = Dice(seed)
    // Twelve weeks of 2026, at a whole minute or not.
    let minute = Int64.random(in: 0...12 * 7 * 1440, using: &dice)
    start =
      try WheelWorld.moment("2026-02-01T00:00:00Z") + .seconds(minute * 60)
      + dice.duration(upTo: 60_000_000_000)
    schedules =
      try dice.schedules(around: start) + [regular].compactMap { $0 }.map { try WheelWorld.schedule($0) }
    world = WheelWorld(schedules, at: start)
    model = WheelModel(
      schedules, at: start, knowing: start - .seconds(10 * 86_400)...start + .seconds(30 * 86_400))
  }

  /// Lets time go by: exactly to the next event, nearly, or for as long as a stall takes.
  mutating func wait() {
    let tillDue = max(.zero, world.wheel.due.map { $0 - world.now } ?? .zero)
    // A sparse schedule may be due beyond what the model knows.
    let soon = min(tillDue, .seconds(86_400))
    switch Int.random(in: 0..<8, using: &dice) {
    case 0...3: world.pass(soon)
    case 4: world.pass(soon + dice.duration(upTo: 60_000_000_000))
    case 5: world.pass(soon + Wheel.grace - .nanoseconds(dice.pick([0, 1])))
    case 6: world.pass(soon / 2)
    default: world.pass(dice.duration(upTo: 2 * 86_400_000_000_000))
    }
  }

  /// Sets the clock, to somewhere in a week.
  mutating func setClock() {
    let step = dice.duration(upTo: 3 * 86_400_000_000_000)
    let target = dice.pick([world.now + step, world.now - step, start, world.now])
    let moment = max(start - .seconds(3 * 86_400), min(start + .seconds(4 * 86_400), target))
    world.setClockOnly(to: moment)
    model.clockWasSet(to: moment)
  }

  /// Takes what is due, all of it or the first few, and holds it against the model for as long as nothing had to be
  /// forgotten. What is fired twice, too early or too late is seen by the world.
  mutating func take(atMost limit: Int = .max) {
    var count = 0
    while count < limit, let event = world.takeOne() {
      count += 1
      events.append(event)
      if model.stretches <= WheelEntry.stretchLimit {
        let expected = model.takeEvent(at: world.now)
        if event != expected { #expect(event == expected) }
      }
    }
    guard model.stretches <= WheelEntry.stretchLimit else { return }
    // Beyond what the model knows nothing can be said.
    let known = start + .seconds(29 * 86_400)
    #expect(world.wheel.due.map { min($0, known) } ?? known == model.next.map { min($0.due, known) } ?? known)
  }
}

@Suite("The wheel in random worlds")
struct WheelPropertyTests {
  @Test("without clock sets every occurrence is fired in time or counted once, in order", arguments: 0..<40)
  func everyOccurrenceOnce(seed: Int) throws {
    var random = try RandomWorld(seed: seed)
    while random.world.now < random.start + .seconds(3 * 86_400), random.events.count < 2000 {
      random.take()
      random.wait()
    }
    random.take()
    let end = random.world.now
    for (index, schedule) in random.schedules.enumerated() {
      var moment = random.start - .seconds(2 * 86_400)
      var remaining: [Timestamp] = []
      while let next = schedule.next(after: moment), next.moment <= end {
        if (random.start...end).contains(next.due) { remaining.append(next.moment) }
        moment = next.moment
      }
      for event in random.events {
        switch event {
        case .fired(index, let occurrence):
          #expect(occurrence.moment == remaining.first)
          remaining = Array(remaining.dropFirst())
        case .missed(index, let count, let first):
          #expect(first == remaining.first)
          #expect(count <= remaining.count)
          remaining = Array(remaining.dropFirst(count))
        default: break
        }
      }
      #expect(remaining.isEmpty)
    }
  }

  @Test("with clock sets of either direction it says what the naive model says", arguments: 100..<160)
  func likeTheModel(seed: Int) throws {
    var random = try RandomWorld(seed: seed)
    var steps = 0
    while steps < 100, random.events.count < 1000, random.model.stretches <= WheelEntry.stretchLimit {
      steps += 1
      random.take(atMost: random.dice.pick([1, 3, .max]))
      // Also several in a row, and with events that wait.
      while random.dice.pick([true, false, false]) { random.setClock() }
      random.wait()
    }
    random.take()
  }

  @Test("nothing is ever fired twice, however often the clock is set", arguments: 1000..<1010)
  func neverTwice(seed: Int) throws {
    var random = try RandomWorld(seed: seed, with: "*/7 * * * *")
    for _ in 0..<1000 {
      random.take(atMost: random.dice.pick([1, 3, .max]))
      random.wait()
      if random.dice.pick([true, false]) { random.setClock() }
      if random.world.now > random.start + .seconds(20 * 86_400) { random.setClock() }
    }
    #expect(random.model.stretches > WheelEntry.stretchLimit, "more breaks than are remembered")
    #expect(random.events.count > 100)
  }

  @Test(
    "a clock that is set anywhere from 1970 to 2099: rare schedules, counted over a century",
    arguments: 0..<30)
  func centuries(seed: Int) throws {
    var dice = Dice(seed)
    let first = try WheelWorld.moment("1969-12-01T00:00:00Z")
    let last = try WheelWorld.moment("2110-01-01T00:00:00Z")
    let zone = Zone(
      name: "Here", offset: 3600, transitions: [],
      end: dice.pick([last, try WheelWorld.moment("2076-03-01T00:00:00Z")]))
    let schedules = try ["0 0 1 * *", "0 0 1 1 *", "0 0 29 2 *", "0 12 LW */3 *", "30 4 * 7 MON"].map {
      try WheelWorld.schedule($0, zone, jitter: dice.pick([.zero, .seconds(7200)]))
    }
    var world = WheelWorld(schedules, at: try WheelWorld.moment("2026-11-23T04:05:06Z"))
    var model = WheelModel(schedules, at: world.now, knowing: first...last)
    let end = try WheelWorld.moment("2099-12-31T23:59:59Z").secondsSinceEpoch
    for _ in 0..<60 {
      let moment = Timestamp(secondsSinceEpoch: Int64.random(in: 0...end, using: &dice))
      world.setClockOnly(to: moment)
      model.clockWasSet(to: moment)
      for _ in 0..<4 where world.now.secondsSinceEpoch < end {
        repeat {
          let event = world.takeOne()
          #expect(event == model.takeEvent(at: world.now))
          guard event != nil else { break }
        } while model.stretches <= WheelEntry.stretchLimit
        guard model.stretches <= WheelEntry.stretchLimit else { return }
        #expect(world.wheel.due == model.next?.due)
        world.pass(max(.zero, (world.wheel.due ?? world.now) - world.now))
      }
    }
  }
}
