// One schedule on the wheel: its next occurrence, and which ones were fired.

internal import Time

/// A schedule and where it stands.
struct WheelEntry: Sendable {
  /// Stretches of fired occurrences that are remembered apart. With more, the two that are nearest to each other become
  /// one, so that what lies between them is not fired either: never twice goes before never too few.
  static let stretchLimit = 8

  private(set) var schedule: Schedule
  /// The next occurrence; nil when there is none within what the zone knows.
  private(set) var pending: Schedule.Occurrence?
  /// What is due from here on and comes before the pending occurrence was fired.
  private var searchedFrom: Timestamp
  /// From first to last, with no other occurrence between them; ascending and apart from each other.
  private var fired: [ClosedRange<Timestamp>] = []

  init(_ schedule: Schedule, at now: Timestamp) {
    self.schedule = schedule
    searchedFrom = now
    pending = schedule.next(dueAtOrAfter: now)
  }

  /// Notes the pending occurrence as fired and finds the next one.
  mutating func fire(_ occurrence: Schedule.Occurrence) {
    let next = schedule.next(after: occurrence.moment)
    note(occurrence.moment, before: next?.moment)
    searchedFrom = occurrence.moment
    pending = unfired(next)
  }

  /// Leaves out the pending occurrence and all others that were due before a moment; returns how many.
  mutating func skip(from first: Schedule.Occurrence, dueBefore limit: Timestamp) -> Int {
    var next = schedule.next(dueAtOrAfter: limit)
    // In another version of the zone the first one may be due later than it was.
    if let found = next, found.moment <= first.moment { next = schedule.next(after: first.moment) }
    let count = 1 + countUnfired(after: first.moment, before: next?.moment ?? limit)
    searchedFrom = limit
    pending = unfired(next)
    return count
  }

  /// Looks again from a moment on, unless the pending occurrence has come by then.
  mutating func restart(at now: Timestamp) {
    if let pending, pending.moment <= now { return }
    // What is due between has been fired, so another search would find the same.
    guard now < searchedFrom else { return }
    searchedFrom = now
    pending = unfired(schedule.next(dueAtOrAfter: now))
  }

  /// Goes on with another version of the zone, from the next `restart` on.
  mutating func move(to zone: Zone) {
    schedule = schedule.moved(to: zone)
    searchedFrom = Timestamp(nanosecondsSinceEpoch: .max)
  }

  // MARK: Fired occurrences

  /// The first occurrence from `occurrence` on that was not fired.
  private func unfired(_ occurrence: Schedule.Occurrence?) -> Schedule.Occurrence? {
    var occurrence = occurrence
    // Ascending, so each is left behind at most once.
    for stretch in fired {
      guard let candidate = occurrence else { return nil }
      if stretch.contains(candidate.moment) { occurrence = schedule.next(after: stretch.upperBound) }
    }
    return occurrence
  }

  private func countUnfired(after first: Timestamp, before end: Timestamp) -> Int {
    let nanosecond: Duration = .nanoseconds(1)
    func count(_ after: Timestamp, _ before: Timestamp) -> Int {
      let last = before - nanosecond
      return after < last ? schedule.expression.count(after: after, through: last, in: schedule.zone) : 0
    }
    return fired.reduce(count(first, end)) { rest, stretch in
      // An occurrence at either end of the stretch belongs to it.
      rest - count(max(first, stretch.lowerBound - nanosecond), min(end, stretch.upperBound + nanosecond))
    }
  }

  /// Adds an occurrence that is in no stretch, and joins it to those that it touches.
  private mutating func note(_ moment: Timestamp, before next: Timestamp?) {
    let place = fired.firstIndex { moment < $0.lowerBound } ?? fired.endIndex
    var (lower, upper) = (moment, moment)
    var joined = place..<place
    if place > 0, isNext(moment, after: fired[place - 1].upperBound) {
      lower = fired[place - 1].lowerBound
      joined = place - 1..<place
    }
    if place < fired.endIndex, next == fired[place].lowerBound {
      upper = fired[place].upperBound
      joined = joined.lowerBound..<place + 1
    }
    fired.replaceSubrange(joined, with: CollectionOfOne(lower...upper))
    if fired.count > Self.stretchLimit { joinNearest() }
  }

  /// Whether no occurrence lies between an earlier one that was fired and the pending one.
  private func isNext(_ pending: Timestamp, after earlier: Timestamp) -> Bool {
    searchedFrom <= earlier || schedule.next(after: earlier)?.moment == pending
  }

  private mutating func joinNearest() {
    let gaps = zip(fired, fired.dropFirst()).map { $1.lowerBound - $0.upperBound }
    guard let nearest = gaps.indices.min(by: { gaps[$0] < gaps[$1] }) else { return }
    fired[nearest] = fired[nearest].lowerBound...fired[nearest + 1].upperBound
    fired.remove(at: nearest + 1)
  }
}
