// Reading and writing small files in tests.

public import Glibc
public import Reactor

/// The text of a file.
public func contents(of path: String) throws -> String {
  let file = open(path, O_RDONLY | O_CLOEXEC)
  guard file >= 0 else { throw CallFailed("open \(path)", errno) }
  defer { close(file) }
  var bytes: [UInt8] = []
  while true {
    let chunk = [UInt8](unsafeUninitializedCapacity: 1 << 16) { buffer, filled in
      filled = max(0, read(file, buffer.baseAddress, buffer.count))
    }
    guard !chunk.isEmpty else { return String(decoding: bytes, as: UTF8.self) }
    bytes += chunk
  }
}

/// Makes a file, or replaces its text.
public func write(_ text: String, to path: String, mode: mode_t = 0o600) throws {
  let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
  guard file >= 0 else { throw CallFailed("open \(path)", errno) }
  defer { close(file) }
  let bytes = Array(text.utf8)
  guard write(file, bytes, bytes.count) == bytes.count else { throw CallFailed("write \(path)", errno) }
}

/// The permission bits of what is at a path itself; nil when nothing is there.
public func mode(of path: String) -> mode_t? {
  var status = stat()
  return lstat(path, &status) == 0 ? status.st_mode & 0o7777 : nil
}

/// Whether anything is at a path.
public func exists(_ path: String) -> Bool { mode(of: path) != nil }

/// Makes a FIFO and holds both of its ends: who opens it waits for nobody, and what is written waits there for who reads.
/// Writing to it never blocks.
public func makeFIFO(_ path: String) throws -> Descriptor {
  guard mkfifo(path, 0o600) == 0 else { throw CallFailed("mkfifo \(path)", errno) }
  let fifo = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC)
  guard fifo >= 0 else { throw CallFailed("open \(path)", errno) }
  return Descriptor(owning: fifo)
}

/// Binds a Unix socket and lets it go: what a program that died leaves, or, while the body runs, a socket of that type
/// on which nobody listens. It never listens, so a child that is being started meanwhile keeps nothing alive with it.
public func withBoundSocket(
  _ path: String, type: __socket_type = SOCK_STREAM, _ body: () throws -> Void = {}
) throws {
  let descriptor = socket(AF_UNIX, Int32(type.rawValue | SOCK_CLOEXEC.rawValue), 0)
  guard descriptor >= 0 else { throw CallFailed("socket", errno) }
  defer { close(descriptor) }
  var address = sockaddr_un()
  address.sun_family = sa_family_t(AF_UNIX)
  withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
  let result = withUnsafePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
    }
  }
  guard result == 0 else { throw CallFailed("bind", errno) }
  try body()
}
