// The wheel: which schedule is due next, and what is due or was missed at a moment.

public import Time

/// All schedules in the order of their next occurrences.
///
/// It reads no clock. Its owner sets one timer to `due`, and when that has passed takes events until there are no more.
///
/// - An occurrence is *fired* within `grace` of the moment it is due, and *missed* when nobody asked until after that: the
///   machine slept, the process stood still, or the clock was set forward. Missed ones are counted, never fired later.
/// - No occurrence of a schedule is fired twice, also when the clock is set back over it. One that was missed is fired
///   when the clock is set back and then comes to it.
public struct Wheel: Sendable {
  /// How late an occurrence may be fired: cron's own resolution. A later one is missed.
  public static let grace: Duration = .seconds(60)

  /// What has happened to a schedule.
  public enum Event: Sendable, Equatable {
    /// An occurrence is due now.
    case fired(index: Int, Schedule.Occurrence)
    /// So many occurrences went by unnoticed, the first of which is given.
    case missed(index: Int, count: Int, first: Timestamp)
  }

  /// A place in the heap; the order of the schedules decides between equals.
  private struct Slot: Comparable {
    let due: Timestamp
    let index: Int

    static func < (left: Slot, right: Slot) -> Bool { (left.due, left.index) < (right.due, right.index) }
  }

  private var entries: [WheelEntry]
  private var heap: [Slot] = []

  /// - Parameters:
  ///   - schedules: events give their indices in this array.
  ///   - now: what is due at this very moment is fired, and what is due before it does not count as missed.
  public init(_ schedules: [Schedule], at now: Timestamp) {
    entries = schedules.map { WheelEntry($0, at: now) }
    fillHeap()
  }

  /// When there will be an event; nil for never.
  public var due: Timestamp? { heap.first?.due }

  /// The next occurrence of a schedule that neither fired nor was missed.
  public func pending(_ index: Int) -> Schedule.Occurrence? { entries[index].pending }

  /// Takes the next event, in the order in which they are due; nil when nothing more is due.
  ///
  /// - Parameter now: what the clock shows. When it may have been set since the last call, `clockWasSet` goes first.
  public mutating func takeEvent(at now: Timestamp) -> Event? {
    guard let top = heap.first, top.due <= now, let occurrence = entries[top.index].pending else {
      return nil
    }
    let event: Event
    if now - occurrence.due < Self.grace {
      entries[top.index].fire(occurrence)
      event = .fired(index: top.index, occurrence)
    } else {
      let count = entries[top.index].skip(
        from: occurrence, dueBefore: now - Self.grace + .nanoseconds(1))
      event = .missed(index: top.index, count: count, first: occurrence.moment)
    }
    replaceTop()
    return event
  }

  /// Finds all next occurrences anew after the clock was set, in either direction. Those that have come by then stay.
  public mutating func clockWasSet(to now: Timestamp) {
    for index in entries.indices { entries[index].restart(at: now) }
    fillHeap()
  }

  /// Goes on with other versions of the zones.
  ///
  /// - Parameter zone: gives the other version for a schedule's index; nil keeps what it has.
  public mutating func replaceZones(at now: Timestamp, _ zone: (Int) -> Zone?) {
    for index in entries.indices {
      if let zone = zone(index) { entries[index].move(to: zone) }
    }
    clockWasSet(to: now)
  }

  // MARK: A binary heap, the earliest slot first

  private mutating func fillHeap() {
    heap = entries.enumerated().compactMap { index, entry in
      entry.pending.map { Slot(due: $0.due, index: index) }
    }
    for index in (0..<heap.count / 2).reversed() { sink(index) }
  }

  /// The top's schedule has another next occurrence, or none.
  private mutating func replaceTop() {
    let index = heap[0].index
    if let pending = entries[index].pending {
      heap[0] = Slot(due: pending.due, index: index)
    } else {
      let last = heap.removeLast()
      guard !heap.isEmpty else { return }
      heap[0] = last
    }
    sink(0)
  }

  private mutating func sink(_ start: Int) {
    var index = start
    let slot = heap[index]
    while true {
      var child = 2 * index + 1
      guard child < heap.count else { break }
      if child + 1 < heap.count, heap[child + 1] < heap[child] { child += 1 }
      guard heap[child] < slot else { break }
      heap[index] = heap[child]
      index = child
    }
    heap[index] = slot
  }
}
