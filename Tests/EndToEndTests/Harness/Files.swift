// Reading and writing files and directories, without Foundation.

import Glibc

/// The content of a file; nil when it cannot be opened.
func readFile(_ path: String) -> [UInt8]? {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
  guard descriptor >= 0 else { return nil }
  defer { close(descriptor) }
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 1 << 16)
  while true {
    let count = read(descriptor, &chunk, chunk.count)
    guard count > 0 else { return bytes }
    bytes += chunk[..<count]
  }
}

/// The content of a file as text; empty when it cannot be opened.
func readText(_ path: String) -> String { String(decoding: readFile(path) ?? [], as: UTF8.self) }

/// Writes a file with exactly this mode, whatever the umask.
func writeFile(_ path: String, _ text: String, mode: mode_t = 0o644) throws {
  let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
  guard descriptor >= 0 else { throw Failure("\(path) cannot be written: errno \(errno)") }
  defer { close(descriptor) }
  let bytes = Array(text.utf8)
  guard write(descriptor, bytes, bytes.count) == bytes.count, fchmod(descriptor, mode) == 0 else {
    throw Failure("\(path) cannot be written: errno \(errno)")
  }
}

/// Makes a directory with exactly this mode.
func makeDirectory(_ path: String, mode: mode_t = 0o755) throws {
  guard mkdir(path, mode) == 0, chmod(path, mode) == 0 else {
    throw Failure("\(path) cannot be made: errno \(errno)")
  }
}

/// What lies in a directory, sorted; empty when there is none.
func entries(of path: String) -> [String] {
  guard let directory = opendir(path) else { return [] }
  defer { closedir(directory) }
  var names: [String] = []
  while let entry = readdir(directory) {
    let name = withUnsafeBytes(of: &entry.pointee.d_name) {
      String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
    }
    if name != ".", name != ".." { names.append(name) }
  }
  return names.sorted()
}

/// What lstat says of a path; nil when there is nothing.
func status(of path: String) -> stat? {
  var result = stat()
  return lstat(path, &result) == 0 ? result : nil
}

extension stat {
  /// The permission bits.
  var permissions: mode_t { st_mode & 0o7777 }
  var isDirectory: Bool { st_mode & S_IFMT == S_IFDIR }
  var isSymlink: Bool { st_mode & S_IFMT == S_IFLNK }
  var isRegular: Bool { st_mode & S_IFMT == S_IFREG }
  var isSocket: Bool { st_mode & S_IFMT == S_IFSOCK }
}

/// Where a symlink points to.
func linkTarget(_ path: String) -> String? {
  var target = [CChar](repeating: 0, count: Int(PATH_MAX))
  let length = readlink(path, &target, target.count)
  guard length >= 0 else { return nil }
  return String(decoding: target.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
