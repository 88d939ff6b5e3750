// Lists the descriptors of a thread: those of the whole process, unless the thread has a table of its own.

import Glibc

/// What each descriptor of the calling thread refers to now, sorted: equal before and after when nothing leaks. The
/// thread needs a table of its own for that, because the test library and Dispatch open descriptors as they please.
public func openDescriptors() -> [String] {
  guard let directory = opendir("/proc/thread-self/fd") else { fatalError("/proc is not mounted") }
  defer { closedir(directory) }
  var targets: [String] = []
  while let entry = readdir(directory) {
    let name = withUnsafeBytes(of: &entry.pointee.d_name) {
      String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
    }
    guard let number = Int32(name), number != dirfd(directory) else { continue }
    var target = [CChar](repeating: 0, count: 256)
    let length = readlink("/proc/thread-self/fd/\(name)", &target, target.count)
    let bytes = target.prefix(max(0, length)).map { UInt8(bitPattern: $0) }
    targets.append("\(number) \(String(decoding: bytes, as: UTF8.self))")
  }
  return targets.sorted()
}
