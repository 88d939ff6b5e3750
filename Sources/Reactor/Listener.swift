// A listening Unix socket, and connecting to one.

internal import CSupport
internal import Glibc
public import SystemPackage

/// Accepts connections on a Unix socket whose file only its owner may open.
@Loop
public final class Listener {
  /// Connections the kernel keeps before they are accepted.
  private static let backlog: Int32 = 1024
  /// How long accepting rests when the process or the system is out of descriptors or memory: there is no event
  /// that tells of their return.
  private static let exhaustionPause: Duration = .seconds(1)

  private var fd: Descriptor?
  private var watch: Watch?
  private var retry: Timer?
  private let onConnection: @Loop (consuming Descriptor, UInt32) -> Void
  private let onExhaustion: @Loop (SystemError) -> Void

  /// Binds and listens. The file at `path` must not exist.
  ///
  /// - Parameters:
  ///   - path: at most 107 bytes.
  ///   - onExhaustion: called when connections have to wait because descriptors or memory have run out.
  ///   - onConnection: receives each connection, non-blocking, and the uid of its peer.
  public init(
    path: String, onExhaustion: @escaping @Loop (SystemError) -> Void,
    onConnection: @escaping @Loop (consuming Descriptor, UInt32) -> Void
  ) throws(SystemError) {
    let raw = try SystemError.check("bind \(path)", agentd_unix_listen(path, Self.backlog))
    fd = Descriptor(owning: raw)
    self.onConnection = onConnection
    self.onExhaustion = onExhaustion
    watch = try Watch(raw, .read) { [weak self] _ in self?.accept() }
  }

  /// Stops listening. The socket's file is the caller's to remove.
  public func close() {
    retry?.cancel()
    retry = nil
    // Who connects from now on is refused, not taken and then let down.
    watch?.closeAtOnce()
    watch = nil
    fd = nil
  }

  isolated deinit { close() }

  private func accept() {
    while let listening = fd?.raw {
      let raw = agentd_unix_accept(listening)
      if raw >= 0 {
        let connection = Descriptor(owning: raw)
        var uid: UInt32 = 0
        // A peer that cannot be identified is not served; closing tells it.
        if agentd_peer_uid(raw, &uid) == 0 { onConnection(connection, uid) }
        continue
      }
      switch -raw {
      case EAGAIN: return
      case ECONNABORTED, EPERM: continue
      default:
        onExhaustion(SystemError("accept", Errno(rawValue: -raw)))
        retry?.cancel()
        retry = Timer(after: Self.exhaustionPause) { [weak self] in self?.accept() }
        return
      }
    }
  }
}

extension Stream {
  /// Connects to the Unix socket at `path`.
  ///
  /// - Throws: `SystemError`: ENOENT or ECONNREFUSED when nobody listens, EACCES when it is somebody else's, EAGAIN
  ///   when too many wait already.
  public static func connect(to path: String) throws(SystemError) -> Stream {
    let raw = try SystemError.check("connect \(path)", agentd_unix_connect(path))
    return try Stream(Descriptor(owning: raw))
  }
}

/// Looking at a Unix socket without using it.
public enum UnixSocket {
  /// What listens at a path.
  public enum Listening: Equatable, Sendable {
    /// Somebody took the connection, or lets it wait.
    case somebody
    /// The connection was ended without a word.
    case hungUp
    /// No connection came about: ECONNREFUSED when nobody listens.
    case failed(Errno)
  }

  /// Connects and hangs up. Waits so many milliseconds for the other side to hang up first: call it on the worker.
  public static func probe(_ path: String, patience: Int32) -> Listening {
    let result = agentd_unix_connect(path)
    guard result >= 0 else { return .failed(Errno(rawValue: -result)) }
    let connection = Descriptor(owning: result)
    var polled = pollfd(fd: connection.raw, events: Int16(POLLIN), revents: 0)
    _ = poll(&polled, 1, patience)
    return polled.revents & Int16(POLLHUP) == 0 ? .somebody : .hungUp
  }
}
