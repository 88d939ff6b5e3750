// Tells the program that supervises the daemon, such as systemd, how it is: started, draining, alive.

internal import Glibc
internal import Logging
internal import Reactor

/// The daemon's side of sd_notify(3) and sd_watchdog_enabled(3). Silent where NOTIFY_SOCKET is not set.
///
/// EXTEND_TIMEOUT_USEC is never sent: how long a stop may take is the operator's to say, by TimeoutStopSec.
@Loop
final class Supervisor {
  /// What the daemon is doing.
  enum Phase {
    /// Not ready yet, which a supervisor takes for granted.
    case starting
    /// It listens.
    case serving
    /// It takes no more requests and lets its sessions finish.
    case draining
    /// It takes no more requests and leaves its sessions to the next daemon.
    case handingOver
  }

  /// Variables that are a supervisor's word to this process alone, and that no child gets.
  ///
  /// A conmon with NOTIFY_SOCKET would speak for the daemon. With INVOCATION_ID podman takes itself for the main program
  /// of a unit and leaves conmon in the daemon's cgroup instead of a scope of its own (its libpod/oci_conmon_linux.go),
  /// where whatever befalls the unit befalls conmon. LISTEN_FDS would have podman pass on descriptors that it has not.
  nonisolated static let variables: Set<String> = [
    "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "INVOCATION_ID", "LISTEN_FDS", "LISTEN_PID",
    "LISTEN_FDNAMES",
  ]
  /// However short WATCHDOG_USEC is, the loop has other things to do.
  private static let shortestInterval: Duration = .milliseconds(1)

  /// How many sessions live.
  var sessions = 0 {
    didSet { if sessions != oldValue, phase != .starting { socket?.send([.status: status]) } }
  }
  private var phase = Phase.starting
  private let socket: NotifySocket?
  private let interval: Duration?
  private var timer: Timer?

  /// - Parameters:
  ///   - environment: the daemon's own.
  ///   - log: is told, once, that the supervisor cannot be reached.
  init(environment: [String: String], log: Logger) {
    let address = environment["NOTIFY_SOCKET"] ?? ""
    socket =
      address.isEmpty
      ? nil
      : NotifySocket(address) { error in
        log.warning("agentd.supervisor_unreachable", metadata: ["reason": "\(error)"])
      }
    interval = Self.watchdogInterval(environment)
  }

  /// Says what the daemon does from now on.
  func enter(_ phase: Phase) {
    self.phase = phase
    switch phase {
    case .starting: break
    case .serving:
      socket?.send([.ready: "1", .status: status])
      if timer == nil { wind() }
    case .draining, .handingOver: socket?.send([.stopping: "1", .status: status])
    }
  }

  /// Says nothing more.
  func close() {
    timer?.cancel()
    timer = nil
    socket?.close()
  }

  private var status: String {
    let count = sessions == 1 ? "1 session" : "\(sessions) sessions"
    switch phase {
    case .starting, .serving: return count
    case .draining: return "Draining: \(count) left"
    case .handingOver: return "Handing over: \(count)"
    }
  }

  /// Half of what the supervisor waits for a sign of life; nil when it does not wait, or for another process.
  private static func watchdogInterval(_ environment: [String: String]) -> Duration? {
    guard let microseconds = UInt64(environment["WATCHDOG_USEC"] ?? ""), microseconds > 0 else { return nil }
    if let pid = environment["WATCHDOG_PID"], Int32(pid) != getpid() { return nil }
    return max(.microseconds(microseconds / 2), shortestInterval)
  }

  /// Of the loop itself, so that a loop that hangs is noticed. Without a watchdog there is no timer, and an idle daemon
  /// is not woken.
  private func wind() {
    guard let interval, let socket else { return }
    timer = Timer(after: interval) { [weak self] in
      socket.send([.watchdog: "1"])
      self?.wind()
    }
  }
}
