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
    guard let stream = agentd_directory_open(directory.release()) else {
      throw .system(call: "opendir", path: path, code: ENOMEM)
    }
    self.stream = stream
    self.path = path
  }

  deinit {
    agentd_directory_close(stream)
  }

  /// The directory itself, to name its entries by.
  var descriptor: Int32 { return agentd_directory_descriptor(stream) }

  /// Begins again, with the names that are there now.
  func rewind() { agentd_directory_rewind(stream) }

  /// The next name, which is good until the next call, or nil at the end.
  func next() throws(AuditError) -> UnsafePointer<CChar>? {
    var name: UnsafePointer<CChar>?
    let result = agentd_directory_next(stream, &name)
    if result < 0 { throw .system(call: "readdir", path: path, code: -result) }
    return result == 0 ? nil : name
  }
}
