// Reads a file of bounded size, with the system calls themselves.

import Glibc

/// The bytes of a file.
///
/// - Throws: `InvalidValue` with the reason when it cannot be read or has more than `limit` bytes.
func readFile(_ path: String, limit: Int) throws(InvalidValue) -> [UInt8] {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { throw cannotBeRead(errno) }
  defer { close(descriptor) }
  var bytes: [UInt8] = []
  let chunkBytes = 65_536
  var chunk = [UInt8](repeating: 0, count: chunkBytes)
  while bytes.count <= limit {
    let count = chunk.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
    if count == 0 { return bytes }
    if count > 0 {
      bytes += chunk[..<count]
    } else if errno != EINTR {
      throw cannotBeRead(errno)
    }
  }
  throw InvalidValue(message: "is larger than \(limit) bytes; split it up")
}

private func cannotBeRead(_ code: Int32) -> InvalidValue {
  let advice = code == ENOENT ? "create it or name another with --config" : "see that it is a readable file"
  return InvalidValue(message: "cannot be read: \(String(cString: strerror(code))); \(advice)")
}
