// How much of a processor a thread of the daemon takes before all other programs of the machine: a small share of one.

internal import CSupport

/// Lets the thread that it belongs to go before all ordinary ones, for a tenth of one processor's time and no more.
///
/// A supervisor that waits for its turn among what it supervises is late by tens of milliseconds, and so is all that waits
/// for it. What it does takes microseconds, so it may go first. But what keeps it busy for longer, a crowd of sessions, a
/// client without end or a mistake of ours, must not keep the machine from others: the time that it takes so is counted,
/// and when it is used up the thread takes turns like any other, until some has come together again.
struct RealtimeShare {
  /// One of how many nanoseconds.
  static let divisor: Int64 = 10
  /// The most that comes together while the thread has little to do, in nanoseconds.
  static let limit: Int64 = 20_000_000
  /// How much there has to be before the thread goes first again.
  static let resumption: Int64 = limit / 2

  /// Whether the thread goes first.
  private(set) var isFirst = false
  private var isRefused = false
  private var credit = limit
  /// Until when time is counted, in nanoseconds of the monotonic clock.
  private var counted: UInt64
  private let goFirst: (Bool) -> Bool

  /// - Parameters:
  ///   - now: the moment from which time counts.
  ///   - goFirst: asks the kernel to have the calling thread go first, or not any more; false when it refuses.
  init(from now: Instant, _ goFirst: @escaping (Bool) -> Bool = RealtimeShare.askKernel) {
    counted = now.nanoseconds
    self.goFirst = goFirst
  }

  private static func askKernel(_ first: Bool) -> Bool {
    if first { return agentd_go_first() == 0 }
    agentd_go_in_turn()
    return true
  }

  /// To be called before the thread waits.
  mutating func willWait(at now: Instant) {
    didWork(until: now)
    guard !isFirst, !isRefused, credit >= Self.resumption else { return }
    isFirst = goFirst(true)
    // Who may not now will not later.
    isRefused = !isFirst
  }

  /// To be called when the thread has waited.
  mutating func didWait(until now: Instant) { count(until: now) }

  /// To be called now and then while the thread has something to do.
  mutating func didWork(until now: Instant) {
    let elapsed = count(until: now)
    guard isFirst else { return }
    credit -= elapsed
    if credit < 0, goFirst(false) { isFirst = false }
  }

  @discardableResult
  private mutating func count(until now: Instant) -> Int64 {
    let elapsed = Int64(clamping: now.nanoseconds &- counted)
    counted = now.nanoseconds
    credit = min(Self.limit, credit + elapsed / Self.divisor)
    return elapsed
  }
}
