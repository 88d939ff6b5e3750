// An open directory of the audit root, and the few things agentd does in one.

internal import CSupport
internal import Glibc
internal import Reactor
internal import SystemPackage

/// An open directory. What is in it is named relative to it, so that no path is walked twice.
struct Directory: ~Copyable {
  let descriptor: Descriptor
  let path: String

  /// Opens a directory by its path; symlinks on the way are the operator's and are followed.
  init(path: String) throws(AuditError) {
    self.path = path
    descriptor = try openDescriptor(path, O_RDONLY | O_DIRECTORY, following: true, path: path)
  }

  init(descriptor: consuming Descriptor, path: String) {
    self.descriptor = descriptor
    self.path = path
  }

  /// Opens a directory, and makes it and its parents, for this user only, where they are missing.
  static func openOrMake(_ path: FilePath) throws(AuditError) -> Directory {
    do {
      return try Directory(path: path.string)
    } catch .system(_, _, ENOENT) {
      guard let name = path.lastComponent?.string else {
        throw .system(call: "open", path: path.string, code: ENOENT)
      }
      let above = path.removingLastComponent()
      let parent = try openOrMake(above.isEmpty ? "." : above)
      guard try parent.make(name, mode: 0o700) else { return try parent.open(name) }
      try parent.sync()
      return try parent.open(name, mode: 0o700)
    }
  }

  func path(of name: String) -> String {
    return "\(path)/\(name)"
  }

  /// Opens a directory in this one; a symlink is refused.
  func open(_ name: String) throws(AuditError) -> Directory {
    let path = path(of: name)
    let opened = try openDescriptor(name, in: descriptor.raw, O_RDONLY | O_DIRECTORY, path: path)
    return Directory(descriptor: opened, path: path)
  }

  /// Opens a directory in this one and gives it exactly this mode, if it has another one; a symlink is refused.
  func open(_ name: String, mode: mode_t) throws(AuditError) -> Directory {
    do {
      let opened = try open(name)
      // A look is cheaper than a change, and no umask that anybody has takes anything away from 0700.
      let entry = try Entry(describing: "", in: opened.descriptor.raw, path: opened.path)
      if entry.permissions != mode {
        try call("chmod", opened.path) { Int(fchmod(opened.descriptor.raw, mode)) }
      }
      return opened
    } catch .system(_, _, EACCES) {
      // Closed to its own user, by the umask or by hand. What is closed for another reason stays so.
      try setMode(mode, of: name)
      return try open(name)
    }
  }

  /// Opens a directory in this one, with exactly this mode; where it is missing it is made, and its name is on the disk.
  func openOrMake(_ name: String, mode: mode_t) throws(AuditError) -> Directory {
    do {
      return try open(name, mode: mode)
    } catch .system(_, _, ENOENT) {
      if try make(name, mode: mode) { try sync() }
      return try open(name, mode: mode)
    }
  }

  /// Makes a directory; false when the name is taken. The umask has its say, so the mode is exact only after `setMode` or
  /// `open(_:mode:)`.
  func make(_ name: String, mode: mode_t) throws(AuditError) -> Bool {
    do {
      try call("mkdir", path(of: name)) { name.withCString { Int(mkdirat(descriptor.raw, $0, mode)) } }
      return true
    } catch .system(_, _, EEXIST) {
      return false
    }
  }

  /// Makes an empty file. The umask has its say.
  func makeFile(_ name: String, mode: mode_t) throws(AuditError) {
    try call("mknod", path(of: name)) {
      name.withCString { Int(mknodat(descriptor.raw, $0, S_IFREG | mode, 0)) }
    }
  }

  /// Sets the mode of an entry, never through a symlink.
  func setMode(_ mode: mode_t, of name: String) throws(AuditError) {
    guard name.withCString({ agentd_entry_set_mode_of(descriptor.raw, $0, mode) }) < 0 else { return }
    // Before Linux 6.6, or for the reason why not.
    let path = path(of: name)
    let held = try hold(name, in: descriptor.raw, path: path)
    let entry = try Entry(describing: "", in: held.raw, path: path)
    if entry.type == S_IFLNK { throw .system(call: "chmod", path: path, code: ELOOP) }
    var modes = HeldModes()
    try modes.set(mode, on: held.raw, path: path)
  }

  /// Writes a new file with exactly this mode; where that fails, no file is left. Until it is whole it has mode 0.
  ///
  /// - Parameter isSynchronized: whether to wait until its content and mode are on the disk. Its name is there only after
  ///   `sync()`.
  /// - Returns: the file, still open.
  @discardableResult
  func create(
    _ name: String, mode: mode_t, content: [UInt8], isSynchronized: Bool
  ) throws(AuditError) -> Descriptor {
    let flags = O_WRONLY | O_CREAT | O_EXCL
    let file = try openDescriptor(name, in: descriptor.raw, flags, mode: 0, path: path(of: name))
    do {
      try writeAll(content, to: file.raw, path: path(of: name))
      try call("chmod", path(of: name)) { Int(fchmod(file.raw, mode)) }
      if isSynchronized { try call("fsync", path(of: name)) { Int(fsync(file.raw)) } }
    } catch {
      try? remove(name)
      throw error
    }
    return file
  }

  /// Removes a file, or an empty directory; one that is not there is removed already.
  func remove(_ name: String, flags: Int32 = 0) throws(AuditError) {
    do {
      try call("unlink", path(of: name)) { name.withCString { Int(unlinkat(descriptor.raw, $0, flags)) } }
    } catch .system(_, _, ENOENT) {
      return
    }
  }

  func rename(_ name: String, to newName: String) throws(AuditError) {
    try call("rename", path(of: newName)) {
      name.withCString { name in
        newName.withCString { Int(renameat(descriptor.raw, name, descriptor.raw, $0)) }
      }
    }
  }

  /// Waits until the names in the directory, and its mode, are on the disk.
  func sync() throws(AuditError) {
    try call("fsync", path) { Int(fsync(descriptor.raw)) }
  }
}

/// Writes all bytes, however often the kernel takes only some of them.
///
/// - Parameter place: where in the file they begin; nil for where the descriptor is in it, or for its end.
func writeAll(
  _ bytes: [UInt8], to descriptor: Int32, at place: off_t? = nil, path: @autoclosure () -> String
) throws(AuditError) {
  var written = 0
  while written < bytes.count {
    written += try call("write", path()) {
      bytes[written...].withUnsafeBytes { rest in
        guard let place else { return write(descriptor, rest.baseAddress, rest.count) }
        return pwrite(descriptor, rest.baseAddress, rest.count, place + off_t(written))
      }
    }
  }
}
