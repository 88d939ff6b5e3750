// Lists the descriptors of the test process.

import Glibc

/// What each descriptor of this process refers to now, sorted: equal before and after when nothing leaks.
public func openDescriptors() -> [String] {
  guard let directory = opendir("/proc/self/fd") else { fatalError("/proc is not mounted") }
  defer { closedir(directory) }
  var targets: [String] = []
  while let entry = readdir(directory) {
    let name = withUnsafeBytes(of: &entry.pointee.d_name) {
      String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
    }
    guard let number = Int32(name), number != dirfd(directory) else { continue }
    var target = [UInt8](repeating: 0, count: 256)
    let length = target.withUnsafeMutableBytes { readlink("/proc/self/fd/\(name)", $0.baseAddress, $0.count) }
    targets.append("\(number) \(String(decoding: target.prefix(max(0, length)), as: UTF8.self))")
  }
  return targets.sorted()
}
