// One schedule on the wheel: its next occurrence, and which ones were fired.

internal import Time

/// A schedule and where it stands.
struct WheelEntry: Sendable {
  /// Earlier stretches of fired occurrences that are remembered apart. With more, the two that are nearest to each
  /// other become one, so that what lies between them is not fired either: never twice goes before never too few.
  static let stretchLimit = 8

  private(set) var schedule: Schedule
  /// The next occurrence; nil when there is none within what the zone knows.
  private(set) var pending: Schedule.Occurrence?
  /// From the first to the last occurrence that was fired since some were missed or the clock was set.
  private var current: ClosedRange<Timestamp>?
  /// The stretches before that, ascending and apart from each other.
  private var earlier: [ClosedRange<Timestamp>] = []

  init(_ schedule: Schedule, at now: Timestamp) {
    self.schedule = schedule
    pending = schedule.next(atOrAfter: now)
  }

  /// Notes the pending occurrence as fired and finds the next one.
  mutating func fire(_ occurrence: Schedule.Occurrence) {
    current = (current?.lowerBound ?? occurrence.moment)...occurrence.moment
    pending = unfired(schedule.next(after: occurrence.moment))
  }

  /// Leaves out the pending occurrence and all others that were due by a moment; returns how many.
  mutating func skip(from first: Schedule.Occurrence, dueBy latest: Timestamp) -> Int {
    endStretch()
    // No delay of an occurrence up to here reaches beyond the latest moment, so these need not be looked at one by one.
    let known = max(first.moment, latest - schedule.jitter)
    var count = 1 + countUnfired(after: first.moment, through: known)
    pending = unfired(schedule.next(after: known))
    while let occurrence = pending, occurrence.due <= latest {
      count += 1
      pending = unfired(schedule.next(after: occurrence.moment))
    }
    return count
  }

  /// Looks again from a moment on, unless the pending occurrence has come by then.
  mutating func restart(at now: Timestamp) {
    endStretch()
    if let pending, pending.moment <= now { return }
    pending = unfired(schedule.next(atOrAfter: now))
  }

  /// Goes on with another version of the zone, from the next `restart` on.
  mutating func move(to zone: Zone) { schedule = schedule.moved(to: zone) }

  // MARK: Fired occurrences

  /// The first occurrence from `occurrence` on that was not fired.
  private func unfired(_ occurrence: Schedule.Occurrence?) -> Schedule.Occurrence? {
    var occurrence = occurrence
    // Ascending, so each is left behind at most once. The current one ends before whatever is asked for.
    for stretch in earlier {
      guard let candidate = occurrence, stretch.contains(candidate.moment) else { continue }
      occurrence = schedule.next(after: stretch.upperBound)
    }
    return occurrence
  }

  private func countUnfired(after first: Timestamp, through last: Timestamp) -> Int {
    func count(_ after: Timestamp, _ through: Timestamp) -> Int {
      after < through ? schedule.expression.count(after: after, through: through, in: schedule.zone) : 0
    }
    return earlier.reduce(count(first, last)) { rest, stretch in
      // Less by a nanosecond, so that an occurrence at the lower end counts.
      rest - count(max(first, stretch.lowerBound - .nanoseconds(1)), min(last, stretch.upperBound))
    }
  }

  private mutating func endStretch() {
    guard let stretch = current else { return }
    current = nil
    var (lower, upper) = (stretch.lowerBound, stretch.upperBound)
    for other in earlier where other.overlaps(stretch) {
      (lower, upper) = (min(lower, other.lowerBound), max(upper, other.upperBound))
    }
    earlier.removeAll { $0.overlaps(stretch) }
    earlier.append(lower...upper)
    earlier.sort { $0.lowerBound < $1.lowerBound }
    guard earlier.count > Self.stretchLimit else { return }
    let gaps = zip(earlier, earlier.dropFirst()).map { $1.lowerBound - $0.upperBound }
    guard let nearest = gaps.indices.min(by: { gaps[$0] < gaps[$1] }) else { return }
    earlier[nearest] = earlier[nearest].lowerBound...earlier[nearest + 1].upperBound
    earlier.remove(at: nearest + 1)
  }
}
