// How much a daemon does at once: sessions, those that wait for their turn, and podman processes.

/// The bounds of a daemon, as configured or by the size of the machine.
public struct Capacity: Sendable, Equatable {
  /// Sessions that live at once, from their start until their containers are removed.
  public let sessions: Int
  /// Sessions that wait for others to make room.
  public let queue: Int
  /// podman processes that work at once.
  public let podmanProcesses: Int

  /// Bounds that are taken to be in order.
  public init(sessions: Int, queue: Int, podmanProcesses: Int) {
    self.sessions = sessions
    self.queue = queue
    self.podmanProcesses = podmanProcesses
  }

  // MARK: Defaults

  /// What an agent takes with its tools and a checkout, roughly: more of them than this allows would push each other
  /// out of memory, where the kernel ends one of them.
  static let bytesPerSession: UInt64 = 512 << 20
  /// An agent waits for its model most of the time.
  static let sessionsPerCore = 16
  /// Fewer than this would make a daemon on a small machine look broken.
  static let fewestSessions = 4
  /// A record on disk each, and some kilobytes of memory.
  static let standardQueue = 1000
  /// Two for each core finish the most sessions a second: podman waits for the disk and for its own locks as well.
  static let podmanProcessesPerCore = 2
  /// More than this only contend for podman's locks.
  static let mostPodmanProcesses = 16

  /// What fits the machine.
  public init(of host: Host) {
    let byMemory = Int(min(host.memory / Self.bytesPerSession, UInt64(Limits.sessions)))
    sessions = max(Self.fewestSessions, min(byMemory, host.cores * Self.sessionsPerCore, Limits.sessions))
    queue = Self.standardQueue
    podmanProcesses = min(
      max(2, host.cores * Self.podmanProcessesPerCore), Self.mostPodmanProcesses)
  }

  /// The keys of the `[daemon]` table that are read here.
  static let keys = ["max_sessions", "queue_limit", "max_podman_processes"]

  /// Reads the keys; nil after at least one report.
  init?(_ section: Section, host: Host) {
    let standard = Capacity(of: host)
    let sessions = section.integer("max_sessions", in: 1...Limits.sessions, otherwise: standard.sessions)
    let queue = section.integer("queue_limit", in: 0...Limits.queuedSessions, otherwise: standard.queue)
    let processes = section.integer(
      "max_podman_processes", in: 1...Limits.podmanProcesses, otherwise: standard.podmanProcesses)
    guard let sessions, let queue, let processes else { return nil }
    self.init(sessions: sessions, queue: queue, podmanProcesses: processes)
  }
}
