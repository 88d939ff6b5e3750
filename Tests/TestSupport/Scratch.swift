// A directory that a test has for itself.

import Glibc

/// A fresh directory under TMPDIR, removed with everything in it by `remove`.
public struct Scratch: Sendable {
  /// Its absolute path.
  public let path: String

  /// Makes the directory.
  public init() {
    let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    var template = Array("\(parent)/agentd-test-XXXXXX".utf8CString)
    guard let made = mkdtemp(&template) else { fatalError("mkdtemp under \(parent) fails: errno \(errno)") }
    path = String(cString: made)
  }

  /// Takes over the directory of a process that could not remove it itself.
  public init(existing path: String) { self.path = path }

  /// Removes the tree, sealed directories included.
  public func remove() { Scratch.remove(path) }

  private static func remove(_ path: String) {
    chmodDirectory(path)
    guard let directory = opendir(path) else {
      unlink(path)
      return
    }
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) {
        String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
      }
      guard name != ".", name != ".." else { continue }
      if entry.pointee.d_type == UInt8(DT_DIR) {
        remove("\(path)/\(name)")
      } else {
        unlink("\(path)/\(name)")
      }
    }
    closedir(directory)
    rmdir(path)
  }

  private static func chmodDirectory(_ path: String) {
    var status = stat()
    if lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR { chmod(path, 0o700) }
  }
}
