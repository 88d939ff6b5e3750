// The datagram socket on which a supervisor such as systemd is told how this process is, without libsystemd.

internal import CSupport
internal import Glibc
internal import SystemPackage

/// Sends assignments like `READY=1` to the socket that NOTIFY_SOCKET names, as sd_notify(3) describes it.
///
/// What the supervisor does not take at once is kept, the latest value of each name only, and sent when it does. So
/// nothing waits, nothing grows, and READY=1 is not lost to a queue that happens to be full.
@Loop
public final class NotifySocket {
  /// The names that may be assigned, in the order in which they are written into one message.
  public enum Name: String, Sendable, CaseIterable {
    /// `1`: it has started.
    case ready = "READY"
    /// `1`: it has begun to end.
    case stopping = "STOPPING"
    /// One line for people.
    case status = "STATUS"
    /// `1`: it is alive.
    case watchdog = "WATCHDOG"
  }

  private let address: String
  private let onFailure: @Loop (SystemError) -> Void
  private var fd: Descriptor?
  private var watch: Watch?
  private var pending: [Name: String] = [:]
  private var hasFailed = false

  /// - Parameters:
  ///   - address: a path, or a name in the abstract namespace that begins with `@`.
  ///   - onFailure: called with the first failure only, because the others say nothing new. The next message tries
  ///     again, with what this one had to say.
  public init(_ address: String, onFailure: @escaping @Loop (SystemError) -> Void) {
    self.address = address
    self.onFailure = onFailure
  }

  isolated deinit { close() }

  /// Sends these assignments in one message, together with what is still waiting. A value must not hold a newline.
  public func send(_ assignments: [Name: String]) {
    pending.merge(assignments) { $1 }
    // While the queue is full the watch tells when it is not.
    if watch == nil { flush() }
  }

  /// Drops what could not be sent. Sending would open the socket again.
  public func close() {
    disconnect()
    pending = [:]
  }

  private func disconnect() {
    watch?.close()
    watch = nil
    fd = nil
  }

  private func flush() {
    guard !pending.isEmpty else { return }
    do throws(SystemError) {
      if fd == nil {
        fd = Descriptor(
          owning: try SystemError.check("connect \(address)", agentd_unix_datagram_connect(address)))
      }
      guard let raw = fd?.raw else { return }
      let text = Name.allCases.compactMap { name in pending[name].map { "\(name.rawValue)=\($0)" } }
      let message = Array(text.joined(separator: "\n").utf8)
      let result = agentd_datagram_send(raw, message, message.count)
      if result == -EAGAIN {
        try waitForRoom(raw)
      } else {
        try SystemError.check("send to \(address)", result)
        pending = [:]
        watch?.close()
        watch = nil
      }
    } catch {
      // Who listens now may be another socket at the same address.
      disconnect()
      if !hasFailed { onFailure(error) }
      hasFailed = true
    }
  }

  private func waitForRoom(_ raw: Int32) throws(SystemError) {
    guard watch == nil else { return }
    // The registration itself tells of room that there is by now.
    watch = try Watch(raw, .write) { [weak self] _ in self?.flush() }
  }
}
