// A raw connection to the daemon's socket, for clients that are not `agentd`.

import Glibc

/// A blocking connection whose every call is bounded.
final class Connection {
  private let descriptor: Int32

  /// Connects. While the daemon's backlog is full this waits.
  init(to path: String) throws {
    descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { throw Failure("socket: errno \(errno)") }
    var bound = timeval(tv_sec: Int(patience.components.seconds), tv_usec: 0)
    for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
      setsockopt(descriptor, SOL_SOCKET, option, &bound, socklen_t(MemoryLayout<timeval>.size))
    }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let result = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard result == 0 else {
      close(descriptor)
      throw Failure("connect \(path): errno \(errno)")
    }
  }

  deinit { close(descriptor) }

  /// Sends all bytes; false when the other side has closed the connection.
  func send(_ bytes: [UInt8]) throws -> Bool {
    var sent = 0
    while sent < bytes.count {
      let count = bytes[sent...].withUnsafeBytes {
        Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
      }
      if count < 0 {
        guard errno == EPIPE || errno == ECONNRESET else { throw Failure("send: errno \(errno)") }
        return false
      }
      sent += count
    }
    return true
  }

  func send(_ text: String) throws -> Bool { try send(Array(text.utf8)) }

  /// Nothing more is sent.
  func endOfRequests() { shutdown(descriptor, Int32(SHUT_WR)) }

  /// Everything that comes until the daemon closes the connection.
  func readToEnd() throws -> String {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 14)
    while true {
      let count = recv(descriptor, &chunk, chunk.count, 0)
      if count > 0 {
        bytes += chunk[..<count]
      } else if count == 0 || errno == ECONNRESET {
        return String(decoding: bytes, as: UTF8.self)
      } else {
        throw Failure("the daemon did not close the connection: errno \(errno)")
      }
    }
  }
}
