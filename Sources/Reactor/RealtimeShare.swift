// How much of a processor a thread of the daemon takes before all ordinary programs of the machine: a small share of one.

internal import CSupport

/// Lets the thread that it belongs to go before all ordinary ones, for a tenth of one processor's time and no more.
///
/// A supervisor that waits for its turn among what it supervises is late by tens of milliseconds, and so is all that waits
/// for it. What it does takes microseconds, so it may go first. But many such pieces, of a crowd of sessions or a client
/// without end, must not keep the machine from others: the time that the thread takes so is counted, and when it is used up
/// the thread takes turns like any other, until some has come together again.
struct RealtimeShare {
  /// Of so many nanoseconds one is given.
  static let divisor: Int64 = 10
  /// The most that comes together while the thread has little to do, in nanoseconds.
  static let limit: Int64 = 20_000_000
  /// How much there has to be before the thread goes first again, in nanoseconds.
  static let resumption: Int64 = limit / 2
  /// The most that is owed after one long stretch, in nanoseconds.
  static let debtLimit: Int64 = 1_000_000_000

  /// How much is read of a list of control groups or controllers, in bytes.
  private static let textLimit = 1 << 14

  /// Who goes before whom, of those who go first. Children whose program has not begun come after both.
  enum Priority: Int32 {
    case worker = 2
    case loop = 3
  }

  /// What a share looks at. The second clock takes a system call, and is read only where it may matter.
  struct Clocks {
    /// The monotonic clock, in nanoseconds.
    var now: () -> UInt64 = agentd_monotonic
    /// How long the thread has had a processor, in nanoseconds, and the children that it starts in its stead. What waits for
    /// a disk has none.
    var used: () -> UInt64 = agentd_thread_time
  }

  /// Whether the thread goes first.
  private(set) var isFirst = false
  private var isRefused = false
  /// What it has by `counted`, in nanoseconds.
  private var credit = limit
  private var counted: UInt64
  /// What the thread had used when it was last counted while it went first.
  private var used: UInt64 = 0
  private let clocks: Clocks
  private let setFirst: (Bool) -> Bool

  /// - Parameters:
  ///   - clocks: of the thread whose share it is.
  ///   - setFirst: asks the kernel to have the calling thread go first, or not any more; false when it refuses.
  init(_ clocks: Clocks, _ setFirst: @escaping (Bool) -> Bool) {
    self.clocks = clocks
    self.setFirst = setFirst
    counted = clocks.now()
  }

  /// A share of the calling thread, as the kernel grants it. It alone may call what follows.
  init(_ priority: Priority) {
    self.init(Clocks()) { first in
      first ? agentd_go_first(priority.rawValue) == 0 : agentd_go_in_turn() == 0
    }
  }

  /// To be called between two turns or batches of jobs: has the thread go first again, where enough has come together.
  mutating func renew() {
    charge()
    guard !isFirst, !isRefused else { return }
    accrue(until: clocks.now())
    guard credit >= Self.resumption else { return }
    used = clocks.used()
    isFirst = setFirst(true)
    // Who may not now will not later.
    isRefused = !isFirst
  }

  /// To be called now and then while the thread has something to do.
  mutating func charge() {
    guard isFirst else { return }
    let now = clocks.now()
    // No more can have been used than has passed.
    guard Int64(clamping: now &- counted) > credit else { return }
    accrue(until: now)
    let usedNow = clocks.used()
    credit = max(-Self.debtLimit, credit - Int64(clamping: usedNow &- used))
    used = usedNow
    if credit < 0, setFirst(false) { isFirst = false }
  }

  private mutating func accrue(until now: UInt64) {
    credit = min(Self.limit, credit + Int64(clamping: now &- counted) / Self.divisor)
    counted = now
  }

  // MARK: Where it is allowed

  /// Whether a thread of this process may go first without being in anybody's way.
  ///
  /// A kernel that shares out realtime by control group (CONFIG_RT_GROUP_SCHED) enables the cpu controller of version 2 nowhere
  /// above a thread that goes first (cgroup-v2.rst, "CPU"), so that podman could not limit a container's processors. Where
  /// the controller is enabled for our group already, or is one of version 1, such a kernel refuses us instead.
  static func isHarmless() -> Bool {
    isHarmless(cgroups: text(of: "/proc/self/cgroup")) { text(of: "/sys/fs/cgroup\($0)/cgroup.controllers") }
  }

  /// - Parameters:
  ///   - cgroups: the content of /proc/self/cgroup, as cgroups(7) describes it.
  ///   - controllers: the controllers of the group of version 2 that has this path.
  static func isHarmless(cgroups: String, controllers: (String) -> String) -> Bool {
    var unified: Substring?
    for line in cgroups.split(separator: "\n") {
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard fields.count == 3 else { continue }
      if fields[1].split(separator: ",").contains("cpu") { return true }
      if fields[0] == "0" { unified = fields[2] }
    }
    guard let unified else { return true }
    return controllers(String(unified)).split(whereSeparator: \.isWhitespace).contains("cpu")
  }

  private static func text(of path: String) -> String {
    String(decoding: KernelFile.read(path, limit: textLimit) ?? [], as: UTF8.self)
  }
}
