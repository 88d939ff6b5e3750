// Files that the kernel makes up while they are read, of /proc and /sys: no disk is waited for.

internal import Glibc

enum KernelFile {
  /// The beginning of a file, up to a limit in bytes that a chunk may exceed; nil when it cannot be opened.
  static func read(_ path: String, limit: Int) -> [UInt8]? {
    let raw = open(path, O_RDONLY | O_CLOEXEC)
    guard raw >= 0 else { return nil }
    let file = Descriptor(owning: raw)
    var bytes: [UInt8] = []
    while bytes.count < limit {
      let chunk = [UInt8](unsafeUninitializedCapacity: 1 << 12) { buffer, filled in
        filled = max(0, Glibc.read(file.raw, buffer.baseAddress, buffer.count))
      }
      guard !chunk.isEmpty else { break }
      bytes += chunk
    }
    return bytes
  }
}
