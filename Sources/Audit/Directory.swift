// An open directory of the audit root, and the few things agentd does in one.

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

  private init(descriptor: consuming Descriptor, path: String) {
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
      if try parent.make(name, mode: 0o700) { try parent.sync() }
      return try parent.open(name)
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

  /// Makes a directory with exactly this mode, whatever the umask; false when the name is taken.
  func make(_ name: String, mode: mode_t) throws(AuditError) -> Bool {
    let path = path(of: name)
    do {
      try call("mkdir", path) { Int(mkdirat(descriptor.raw, name, mode)) }
    } catch .system(_, _, EEXIST) {
      return false
    }
    try setMode(mode, of: name)
    return true
  }

  /// Sets the mode of an entry, never through a symlink.
  func setMode(_ mode: mode_t, of name: String) throws(AuditError) {
    let path = path(of: name)
    let held = try hold(name, in: descriptor.raw, path: path)
    let entry = try Entry(describing: "", in: held.raw, path: path)
    if entry.type == S_IFLNK { throw .system(call: "chmod", path: path, code: ELOOP) }
    if entry.permissions != mode { try HeldModes().set(mode, on: held.raw, path: path) }
  }

  /// Writes a new file with exactly this mode, to the disk; where that fails, no file is left.
  func create(_ name: String, mode: mode_t, content: [UInt8]) throws(AuditError) {
    let path = path(of: name)
    let flags = O_WRONLY | O_CREAT | O_EXCL
    let file = try openDescriptor(name, in: descriptor.raw, flags, mode: 0o600, path: path)
    do {
      try writeAll(content, to: file.raw, path: path)
      try call("chmod", path) { Int(fchmod(file.raw, mode)) }
      try call("fsync", path) { Int(fsync(file.raw)) }
    } catch {
      try? remove(name)
      throw error
    }
  }

  /// Removes a file, or an empty directory; one that is not there is removed already.
  func remove(_ name: String, flags: Int32 = 0) throws(AuditError) {
    do {
      try call("unlink", path(of: name)) { Int(unlinkat(descriptor.raw, name, flags)) }
    } catch .system(_, _, ENOENT) {
      return
    }
  }

  func rename(_ name: String, to newName: String) throws(AuditError) {
    try call("rename", path(of: newName)) {
      Int(renameat(descriptor.raw, name, descriptor.raw, newName))
    }
  }

  /// Waits until the names in the directory, and its mode, are on the disk.
  func sync() throws(AuditError) {
    try call("fsync", path) { Int(fsync(descriptor.raw)) }
  }
}

/// Writes all bytes, however often the kernel takes only some of them.
func writeAll(_ bytes: [UInt8], to descriptor: Int32, path: String) throws(AuditError) {
  var written = 0
  while written < bytes.count {
    written += try call("write", path) {
      bytes[written...].withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    }
  }
}
