// The directory that the private directories are in, kept open: each session names some twenty files below it.

internal import Glibc
internal import Reactor
internal import SystemPackage

/// The runtime directory of a daemon, open.
final class RuntimeDirectory: Sendable {
  /// Its path.
  let path: String
  /// What comes before the names of what is in it.
  let prefix: String
  private let descriptor: Descriptor

  /// Opens it.
  init(_ path: String) throws(SystemError) {
    self.path = path
    prefix = path + "/"
    let raw = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard raw >= 0 else { throw SystemError("open \(path)", Errno(rawValue: errno)) }
    descriptor = Descriptor(owning: raw)
  }

  /// What names can be looked up in.
  var raw: Int32 { descriptor.raw }

  /// The names of all that is in a directory.
  static func names(in path: String) throws(SystemError) -> [String] {
    guard let directory = opendir(path) else { throw SystemError("open \(path)", Errno(rawValue: errno)) }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      names.append(
        withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
          String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        })
    }
    return names
  }
}
