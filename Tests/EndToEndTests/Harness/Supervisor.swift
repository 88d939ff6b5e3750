// Stands for systemd: the socket behind NOTIFY_SOCKET, on which a daemon tells how it is.

import Glibc

/// A datagram socket in the abstract namespace whose every wait is bounded.
final class Supervisor {
  /// What NOTIFY_SOCKET is to be.
  let address: String
  private let descriptor: Int32

  // The tests run one after the other.
  nonisolated(unsafe) private static var count = 0

  init() throws {
    Supervisor.count += 1
    address = "@agentd-test-\(getpid())-\(Supervisor.count)"
    descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { throw Failure("socket: errno \(errno)") }
    var bound = timeval(tv_sec: Int(patience.components.seconds), tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &bound, socklen_t(MemoryLayout<timeval>.size))
    var name = sockaddr_un()
    name.sun_family = sa_family_t(AF_UNIX)
    let bytes = [0] + Array(address.utf8.dropFirst())
    withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: bytes) }
    let size = socklen_t(MemoryLayout<sa_family_t>.size + bytes.count)
    let result = withUnsafePointer(to: &name) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, size) }
    }
    guard result == 0 else { throw Failure("bind \(address): errno \(errno)") }
  }

  deinit { close(descriptor) }

  /// The next message, as soon as there is one.
  func next() throws -> String {
    guard let message = receive(0) else {
      throw Failure("no message came within \(patience): errno \(errno)")
    }
    return message
  }

  /// The messages that are there now.
  func rest() -> [String] {
    var all: [String] = []
    while let message = receive(Int32(MSG_DONTWAIT)) { all.append(message) }
    return all
  }

  private func receive(_ flags: Int32) -> String? {
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = recv(descriptor, &buffer, buffer.count, flags)
    return count < 0 ? nil : String(decoding: buffer[..<count], as: UTF8.self)
  }
}
