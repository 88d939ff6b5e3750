// A wheel in a world whose clock the tests set: what its owner does, and every event as a line of text.

import Testing
import Time

@testable import Cron

/// A wheel, its owner and the clock.
struct WheelWorld {
  private(set) var wheel: Wheel
  /// What the clock shows.
  private(set) var now: Timestamp
  /// What was fired, so that a second time is noticed whatever a test looks at.
  private var fired: Set<[Int64]> = []

  init(_ schedules: [Schedule], at now: Timestamp) {
    wheel = Wheel(schedules, at: now)
    self.now = now
  }

  init(_ expressions: String..., at text: String) throws {
    self.init(try expressions.map { try Self.schedule($0) }, at: try Self.moment(text))
  }

  /// `2026-11-23T04:05:06Z` as a moment.
  static func moment(_ text: String) throws -> Timestamp { try #require(Timestamp(rfc3339: text)) }

  /// A schedule that is named like its expression.
  static func schedule(_ expression: String, _ zone: Zone = .utc, jitter: Duration = .zero) throws
    -> Schedule
  {
    Schedule(name: expression, expression: try CronExpression(expression), zone: zone, jitter: jitter)
  }

  /// Takes events until there are none, each as a line.
  mutating func takeAll() -> [String] {
    var lines: [String] = []
    while let event = takeOne() { lines.append(Self.text(of: event)) }
    return lines
  }

  /// Takes an event and checks what holds for each of them: nothing is fired twice, too early or too late.
  mutating func takeOne() -> Wheel.Event? {
    let due = wheel.due
    let event = wheel.takeEvent(at: now)
    claim((event != nil) == (due.map { $0 <= now } ?? false), "due says when there is an event")
    if case .fired(let index, let occurrence) = event {
      let isNew = fired.insert([Int64(index), occurrence.moment.nanosecondsSinceEpoch]).inserted
      claim(isNew, "\(occurrence.moment) was fired twice")
      claim(occurrence.due == due, "fired is what was due")
      claim(occurrence.moment <= occurrence.due && occurrence.due <= now, "nothing is fired too early")
      claim(now - occurrence.due < Wheel.grace, "nothing is fired too late")
    }
    return event
  }

  /// An expectation that costs nothing when it holds: some tests take a hundred thousand events.
  private func claim(_ holds: Bool, _ what: @autoclosure () -> String) {
    if !holds { Issue.record("\(what())") }
  }

  /// Time goes by and the owner is awake whenever something is due.
  mutating func run(for duration: Duration) -> [String] {
    let end = now + duration
    var lines: [String] = []
    while let due = wheel.due, due <= end {
      now = max(now, due)
      let taken = takeAll()
      guard !taken.isEmpty else { break }
      lines += taken
    }
    now = end
    return lines
  }

  /// Time goes by without the owner, who then looks.
  mutating func stall(for duration: Duration) -> [String] {
    pass(duration)
    return takeAll()
  }

  /// Time goes by without the owner.
  mutating func pass(_ duration: Duration) { now = now + duration }

  /// Someone sets the clock, and the owner is told.
  mutating func setClock(to moment: Timestamp) -> [String] {
    setClockOnly(to: moment)
    return takeAll()
  }

  mutating func setClock(to text: String) throws -> [String] { setClock(to: try Self.moment(text)) }

  /// The owner is told that the clock was set and takes nothing yet.
  mutating func setClockOnly(to moment: Timestamp) {
    now = moment
    wheel.clockWasSet(to: moment)
  }

  mutating func replaceZones(_ zones: [Int: Zone]) { wheel.replaceZones(at: now) { zones[$0] } }

  /// `fired 0 2026-11-23T04:05:00Z` or `missed 0 3 2026-11-23T04:05:00Z`.
  static func text(of event: Wheel.Event) -> String {
    switch event {
    case .fired(let index, let occurrence): "fired \(index) \(short(occurrence.moment))"
    case .missed(let index, let count, let first): "missed \(index) \(count) \(short(first))"
    }
  }

  /// Without a fraction that is zero.
  static func short(_ moment: Timestamp) -> String {
    moment.rfc3339.hasSuffix(".000Z") ? moment.rfc3339.dropLast(5) + "Z" : moment.rfc3339
  }
}
