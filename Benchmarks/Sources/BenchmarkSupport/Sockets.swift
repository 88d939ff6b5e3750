// Unix sockets without a loop: what is measured is the other side.

public import Glibc

/// A call that failed.
public struct CallFailed: Error, CustomStringConvertible {
  let call: String
  let code: Int32

  /// The call that has just failed, with errno.
  public init(_ call: String) {
    self.call = call
    code = errno
  }

  /// "connect: Connection refused".
  public var description: String { "\(call): \(String(cString: strerror(code)))" }
}

/// Returns what a call returned unless that is negative.
@discardableResult
public func checked<Number: SignedInteger>(_ call: String, _ result: Number) throws -> Number {
  guard result >= 0 else { throw CallFailed(call) }
  return result
}

/// Calls `body` with the address of a socket's path.
@discardableResult
public func withAddress<Result>(
  _ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) throws -> Result
) rethrows -> Result {
  var address = sockaddr_un()
  address.sun_family = sa_family_t(AF_UNIX)
  precondition(
    path.utf8.count < MemoryLayout.size(ofValue: address.sun_path), "the socket's path is too long")
  withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
  return try withUnsafePointer(to: &address) {
    try $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      try body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
    }
  }
}

/// A connected socket, blocking.
public func connected(to path: String) throws -> Int32 {
  let socket = try checked("socket", socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0))
  try withAddress(path) { try checked("connect \(path)", connect(socket, $0, $1)) }
  return socket
}

/// The process that listens at the other end of a connected socket.
public func peer(of socket: Int32) throws -> Int32 {
  // struct ucred, which Swift's Glibc module does not show.
  var credentials = (pid: pid_t(0), uid: uid_t(0), gid: gid_t(0))
  var size = socklen_t(MemoryLayout<(pid_t, uid_t, gid_t)>.size)
  try checked("getsockopt", getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size))
  return credentials.pid
}
