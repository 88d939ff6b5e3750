// What a supervisor listens on: the socket behind NOTIFY_SOCKET.

import Glibc
public import Reactor

/// Receives what is sent to a datagram socket, one message after the other.
@Loop
public final class NotifyReceiver {
  private let fd: Descriptor
  private var watch: Watch?
  private var arrived = Latch()

  /// Binds the socket.
  ///
  /// - Parameter address: a path, or a name in the abstract namespace that begins with `@`.
  public init(_ address: String) throws {
    let raw = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
    guard raw >= 0 else { throw CallFailed("socket", errno) }
    fd = Descriptor(owning: raw)
    var name = sockaddr_un()
    name.sun_family = sa_family_t(AF_UNIX)
    let isAbstract = address.hasPrefix("@")
    let bytes = (isAbstract ? [0] : []) + Array(address.utf8.dropFirst(isAbstract ? 1 : 0))
    withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: bytes) }
    // An abstract name is as long as it is said to be; a path ends at its NUL.
    let size = MemoryLayout<sa_family_t>.size + bytes.count + (isAbstract ? 0 : 1)
    let result = withUnsafePointer(to: &name) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(raw, $0, socklen_t(size)) }
    }
    guard result == 0 else { throw CallFailed("bind \(address)", errno) }
    watch = try Watch(raw, .read) { [weak self] _ in self?.arrived.open() }
  }

  /// The next message, as soon as there is one.
  public func next() async -> String {
    while true {
      let arrived = Latch()
      self.arrived = arrived
      if let message = take() { return message }
      await arrived.wait()
    }
  }

  /// The messages that are there now.
  public func takeAll() -> [String] {
    var all: [String] = []
    while let message = take() { all.append(message) }
    return all
  }

  private func take() -> String? {
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = recv(fd.raw, &buffer, buffer.count, 0)
    return count < 0 ? nil : String(decoding: buffer[..<count], as: UTF8.self)
  }

  /// Lets the socket go. A file at its path stays.
  public func close() {
    watch?.close()
    watch = nil
  }
}
