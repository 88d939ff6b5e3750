// The two walks over a record that seal it, one entry at a time, by descriptors only.

internal import CSupport
internal import Glibc
internal import Reactor

/// Where the sealing of a record is. Its descriptors are closed when it goes away.
final class SealingWalk {
  private enum Pass {
    case start
    case survey
    case seal
  }

  /// What is to be done with an entry.
  enum Kind {
    case symlink
    case directory
    case file
  }

  private let record: Record
  private let user: uid_t
  private let modes: HeldModes
  private let directory: Directory
  private let agentd: Directory
  private let root: Entry
  private var pass = Pass.start
  /// A directory that is being read.
  private struct Level {
    let stream: DirectoryStream
    /// Whether nobody but this user and root can make a name in it stand for something else.
    let isClosed: Bool
  }

  /// The directories from `runa/` down to the one that is being read.
  private var levels: [Level] = []

  init(record: Record, user: uid_t) throws(AuditError) {
    self.record = record
    self.user = user
    modes = try HeldModes()
    directory = try Directory(path: record.path)
    agentd = try directory.open("agentd")
    root = try Entry(describing: "", in: directory.descriptor.raw, path: record.path)
  }

  /// Handles one entry, or the end of one directory; true when the record is sealed.
  func advance() throws(AuditError) -> Bool {
    do throws(AuditError) {
      guard let level = levels.last else { return try nextPass() }
      guard let name = try level.stream.next() else {
        levels.removeLast()
        return false
      }
      // Spelt only where it is looked at: most entries are nothing but a name to the kernel.
      func path() -> String { "\(level.stream.path)/\(String(cString: name))" }
      if pass == .survey {
        try survey(name, in: level.stream.descriptor, path())
        return false
      }
      var isSealed = false
      if level.isClosed { isSealed = try sealFile(name, in: level.stream.descriptor, path()) }
      if !isSealed { try seal(name, in: level.stream.descriptor, path()) }
      return false
    } catch .system(_, let path, let code) where user != 0 && (code == EACCES || code == EPERM) {
      // What this user may not do, root of the user's own namespace may.
      throw .foreignOwner(record: record.path, path: path)
    } catch .system(let call, let path, let code) {
      // This sentence names no record, so its path has to.
      throw .system(call: call, path: "\(record.path)/\(path)", code: code)
    }
  }

  private func nextPass() throws(AuditError) -> Bool {
    switch pass {
    case .start:
      pass = .survey
      _ = try kind(of: try describe(Record.consoleLogName, in: agentd, consoleLog), consoleLog)
      _ = try describe("runa", in: directory, "runa")
      try survey("runa", in: directory.descriptor.raw, "runa")
      return false
    case .survey:
      pass = .seal
      try seal("runa", in: directory.descriptor.raw, "runa")
      return false
    case .seal:
      try sync("runa", in: directory, "runa")
      try seal(Record.consoleLogName, in: agentd.descriptor.raw, consoleLog)
      try sync(Record.consoleLogName, in: agentd, consoleLog)
      return true
    }
  }

  private var consoleLog: String { return "agentd/\(Record.consoleLogName)" }

  private func describe(
    _ name: String, in directory: borrowing Directory, _ path: String
  ) throws(AuditError) -> Entry {
    return try Entry(describing: name, in: directory.descriptor.raw, path: path)
  }

  private func sync(_ name: String, in directory: borrowing Directory, _ path: String) throws(AuditError) {
    let opened = try openDescriptor(name, in: directory.descriptor.raw, O_RDONLY, path: path)
    try call("fsync", path) { Int(fsync(opened.raw)) }
  }
}

// MARK: - Entries

extension SealingWalk {
  private func survey(
    _ name: UnsafePointer<CChar>, in directory: Int32, _ path: @autoclosure () -> String
  ) throws(AuditError) {
    do {
      let entry = try Entry(describing: name, in: directory, path: path())
      guard try kind(of: entry, path()) == .directory else { return }
      try enter(name, in: directory, isClosed: false, path())
    } catch .system(_, _, let code) where code == ENOENT || code == ELOOP || code == ENOTDIR {
      // Gone, or something else by now. Sealing looks again, and at what it holds.
      return
    }
  }

  private func seal(
    _ name: UnsafePointer<CChar>, in directory: Int32, _ path: @autoclosure () -> String
  ) throws(AuditError) {
    let held: Descriptor
    do {
      held = try hold(name, in: directory, path: path())
    } catch .system(_, _, ENOENT) {
      return
    }
    let entry = try Entry(describing: "", in: held.raw, path: path())
    switch try kind(of: entry, path()) {
    case .symlink:
      return
    case .directory:
      // Taken over first: its owner could open again what is closed.
      var isOurs = entry.owner == user
      if !isOurs { isOurs = agentd_entry_set_owner(held.raw, user) == 0 }
      // Closed before it is read: a name that is not there now cannot appear in it later.
      try set(Sealing.directoryMode, on: held.raw, entry, path())
      try enter(".", in: held.raw, isClosed: isOurs, path())
    case .file:
      try set(Sealing.fileMode, on: held.raw, entry, path())
    }
  }

  /// Seals a name in a directory that is closed, if it is a file's or a symlink's and the kernel can: without holding it,
  /// which takes as long as all the rest. False when it has to be held.
  private func sealFile(
    _ name: UnsafePointer<CChar>, in directory: Int32, _ path: @autoclosure () -> String
  ) throws(AuditError) -> Bool {
    let entry: Entry
    do {
      entry = try Entry(describing: name, in: directory, path: path())
    } catch .system(_, _, ENOENT) {
      return true
    }
    switch try kind(of: entry, path()) {
    case .symlink: return true
    case .directory: return false
    case .file:
      return entry.permissions == Sealing.fileMode
        || agentd_entry_set_mode_of(directory, name, Sealing.fileMode) == 0
    }
  }

  private func set(
    _ mode: mode_t, on held: Int32, _ entry: Entry, _ path: @autoclosure () -> String
  ) throws(AuditError) {
    if entry.permissions != mode { try modes.set(mode, on: held, path: path()) }
  }

  private func enter(
    _ name: UnsafePointer<CChar>, in directory: Int32, isClosed: Bool, _ path: String
  ) throws(AuditError) {
    if levels.count == Sealing.depthLimit {
      throw .tooDeep(record: record.path, path: path, limit: Sealing.depthLimit)
    }
    let opened = try openDescriptor(name, in: directory, O_RDONLY | O_DIRECTORY, path: path)
    levels.append(Level(stream: try DirectoryStream(reading: opened, path: path), isClosed: isClosed))
  }

  private func kind(of entry: Entry, _ path: @autoclosure () -> String) throws(AuditError) -> Kind {
    return try SealingWalk.kind(of: entry, below: root, user: user, record: record.path, path: path())
  }

  /// Decides about an entry of a record whose own directory is `root`.
  static func kind(
    of entry: Entry, below root: Entry, user: uid_t, record: String, path: @autoclosure () -> String
  ) throws(AuditError) -> Kind {
    if entry.type == S_IFLNK { return .symlink }
    let isDirectory = entry.type == S_IFDIR
    // An overlay file system may report another device for a file than for its directory, but never another
    // mount; and a file gets onto another file system only by being a mount itself.
    if entry.mount != root.mount || (isDirectory && entry.device != root.device) {
      throw .anotherFileSystem(record: record, path: path())
    }
    if !isDirectory && entry.links > 1 { throw .multipleLinks(record: record, path: path()) }
    if user != 0 && entry.owner != user { throw .foreignOwner(record: record, path: path()) }
    return isDirectory ? .directory : .file
  }
}
