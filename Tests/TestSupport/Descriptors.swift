// Descriptors in tests: listing those of a thread, and pipes that no child of another test keeps open.

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

/// A pipe whose ends block and are close-on-exec from their first moment.
public func makePipe() throws -> (read: Int32, write: Int32) {
  let pipe2 = try symbol("pipe2", as: (@convention(c) (UnsafeMutablePointer<Int32>, Int32) -> Int32).self)
  var ends: [Int32] = [-1, -1]
  guard pipe2(&ends, O_CLOEXEC) == 0 else { throw CallFailed("pipe2", errno) }
  return (ends[0], ends[1])
}
