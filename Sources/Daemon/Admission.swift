// How many sessions live at once, which wait for their turn, and when one is refused. Pure.

/// The places of a daemon: a bounded number to live in, and a bounded queue before them, first in, first out.
///
/// A session lives from its start until its container is removed. What comes then, sealing its record, takes neither
/// memory nor processors to speak of, so the next one may start; but not any number of times, lest records pile up
/// that a slow disk does not get sealed.
struct Admission<ID: Hashable & Sendable>: Sendable {
  /// Where a request that is being prepared will have its session.
  enum Place: Sendable, Equatable {
    /// It starts at once.
    case live
    /// It waits for its turn.
    case queue
  }

  /// How many may live at once.
  let limit: Int
  /// How many may wait.
  let queueLimit: Int
  /// Those that wait, the next one first.
  private(set) var queue: [ID] = []
  private var live: Set<ID> = []
  /// Those whose records are being sealed.
  private var leaving: Set<ID> = []
  private var promised: (live: Int, queue: Int) = (0, 0)

  /// - Parameters: as the properties say.
  init(limit: Int, queueLimit: Int) {
    self.limit = limit
    self.queueLimit = queueLimit
  }

  /// How many live.
  var liveCount: Int { live.count }

  private var hasRoom: Bool {
    let busy = live.count + promised.live
    return busy < limit && busy + leaving.count < 2 * limit
  }

  // MARK: Before there is a session

  /// Keeps a place for a request; nil when there is none. Whoever came before it goes before it.
  mutating func reserve() -> Place? {
    if hasRoom, queue.isEmpty, promised.queue == 0 {
      promised.live += 1
      return .live
    }
    guard queue.count + promised.queue < queueLimit else { return nil }
    promised.queue += 1
    return .queue
  }

  /// Gives back the place of a request that came to nothing.
  mutating func release(_ place: Place) {
    switch place {
    case .live: promised.live -= 1
    case .queue: promised.queue -= 1
    }
  }

  // MARK: Sessions

  /// A session takes the place that was kept for it.
  mutating func enter(_ session: ID, _ place: Place) {
    release(place)
    adopt(session, place)
  }

  /// A session of an earlier daemon has its place here, whatever the limits.
  mutating func adopt(_ session: ID, _ place: Place) {
    switch place {
    case .live: live.insert(session)
    case .queue: queue.append(session)
    }
  }

  /// The session whose turn has come, which lives from now on; nil when nobody's has. To be asked after every change
  /// until it has no answer.
  mutating func next() -> ID? {
    guard hasRoom, !queue.isEmpty else { return nil }
    let session = queue.removeFirst()
    live.insert(session)
    return session
  }

  /// A session's container is removed.
  mutating func vacate(_ session: ID) {
    if live.remove(session) != nil { leaving.insert(session) }
  }

  /// A session has ended.
  mutating func end(_ session: ID) {
    live.remove(session)
    leaving.remove(session)
  }

  /// A session does not wait any more. False when it did not.
  mutating func withdraw(_ session: ID) -> Bool {
    guard let index = queue.firstIndex(of: session) else { return false }
    queue.remove(at: index)
    return true
  }

  /// Nobody waits any more.
  ///
  /// - Returns: those that did, the next one first.
  mutating func withdrawAll() -> [ID] {
    defer { queue = [] }
    return queue
  }

  /// How many wait before a session that waits; nil when it does not.
  func ahead(of session: ID) -> Int? { queue.firstIndex(of: session) }
}
