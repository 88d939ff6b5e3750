// The names in an open directory, one at a time, so that a directory of any size takes the same memory.

internal import CSupport
internal import Glibc
internal import Reactor

/// A directory that is being read. It closes its descriptor when it goes away.
final class DirectoryStream {
  /// The directory's path, relative to the record.
  let path: String
  private let stream: OpaquePointer

  init(reading directory: consuming Descriptor, path: String) throws(AuditError) {
    guard let stream = fdopendir(directory.raw) else {
      throw .system(call: "opendir", path: path, code: errno)
    }
    _ = directory.release()
    self.stream = stream
    self.path = path
  }

  deinit {
    closedir(stream)
  }

  /// The directory itself, to name its entries by.
  var descriptor: Int32 { return dirfd(stream) }

  /// Begins again, with the names that are there now.
  func rewind() { rewinddir(stream) }

  /// The next name, which is good until the next call, or nil at the end.
  func next() throws(AuditError) -> UnsafePointer<CChar>? {
    var name: UnsafePointer<CChar>?
    let result = agentd_directory_next(stream, &name)
    if result < 0 { throw .system(call: "readdir", path: path, code: -result) }
    return result == 0 ? nil : name
  }
}
