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
    case settle
  }

  /// What is to be done with an entry.
  enum Kind {
    case symlink
    case directory
    case file
  }

  private let record: Record
  private let user: uid_t
  private var modes = HeldModes()
  /// `agentd/`, in which nobody but this user and root makes a name; nor does anybody else in the directory above. Handed on
  /// with what is staged, at the end.
  private var agentd: Directory?
  /// The record's own directory.
  private let root: Entry
  private var pass = Pass.start
  /// `runa/`, which is held from the first pass to the end.
  private var runa: DirectoryStream?
  /// console.log, which is held like that, too.
  private var log: Descriptor?
  /// What both were found to be before anything was changed.
  private var entries: (runa: Entry, log: Entry)?
  /// What is to be staged.
  private let metadata: Metadata?
  /// The staged file, until it is on the disk.
  private var stagedFile: Descriptor?
  private var stagedLength = 0
  /// What was staged; told when the walk has come to its end.
  private(set) var staged: Sealing.Staged?
  /// A directory that is being read.
  private struct Level {
    let stream: DirectoryStream
    /// Whether nobody but this user and root can make a name in it stand for something else.
    let isClosed: Bool
  }

  /// The directories from `runa/` down to the one that is being read.
  private var levels: [Level] = []

  init(record: Record, user: uid_t, staging metadata: Metadata?) throws(AuditError) {
    self.record = record
    self.user = user
    self.metadata = metadata
    let agentd: Directory
    do throws(AuditError) {
      agentd = try record.openAgentd()
    } catch .system(_, let path, let code) where user != 0 && (code == EACCES || code == EPERM) {
      // What this user may not do, root of the user's own namespace may.
      throw .foreignOwner(record: record.path, path: path)
    }
    root = try Entry(describing: "..", in: agentd.descriptor.raw, path: record.path)
    self.agentd = consume agentd
  }

  private var agentdDescriptor: Int32 {
    guard let raw = agentd?.descriptor.raw else {
      preconditionFailure("agentd/ is held until the walk has come to its end")
    }
    return raw
  }

  /// Handles at most so many entries and ends of directories; true when the record is sealed.
  func advance(entries: Int) throws(AuditError) -> Bool {
    var left = entries
    do throws(AuditError) {
      while left > 0 {
        if let level = levels.last {
          try advance(in: level, &left)
        } else {
          left -= 1
          if try nextPass() { return true }
          // What follows waits for the disk.
          if pass == .settle { return false }
        }
      }
      return false
    } catch .system(_, let path, let code) where user != 0 && (code == EACCES || code == EPERM) {
      // What this user may not do, root of the user's own namespace may.
      throw .foreignOwner(record: record.path, path: path)
    } catch .system(let call, let path, let code) {
      // This sentence names no record, so its path has to.
      throw .system(call: call, path: "\(record.path)/\(path)", code: code)
    }
  }

  /// Handles entries of one directory, until it is at its end or another one is entered.
  private func advance(in level: Level, _ left: inout Int) throws(AuditError) {
    let depth = levels.count
    let (stream, directory, isSurvey) = (level.stream, level.stream.descriptor, pass == .survey)
    while left > 0, levels.count == depth {
      left -= 1
      guard let name = try stream.next() else {
        levels.removeLast()
        return
      }
      // Spelt only where it is looked at: most entries are nothing but a name to the kernel.
      func path() -> String { "\(stream.path)/\(String(cString: name))" }
      if isSurvey {
        try survey(name, in: directory, path())
        continue
      }
      var isSealed = false
      if level.isClosed { isSealed = try sealNamed(name, in: directory, path()) }
      if !isSealed { try seal(name, in: directory, path()) }
    }
  }

  private func nextPass() throws(AuditError) -> Bool {
    switch pass {
    case .start:
      pass = .survey
      let path = Self.consoleLog
      let log = try openDescriptor(Record.consoleLogName, in: agentdDescriptor, O_RDONLY, path: path)
      let logEntry = try Entry(describing: "", in: log.raw, path: path)
      _ = try kind(of: logEntry, path)
      let runa = try open("../runa", in: agentdDescriptor, "runa")
      let entry = try Entry(describing: "", in: runa.descriptor, path: "runa")
      _ = try kind(of: entry, "runa")
      levels.append(Level(stream: runa, isClosed: false))
      self.log = consume log
      self.runa = runa
      entries = (entry, logEntry)
      return false
    case .survey:
      guard let runa, let entry = entries?.runa else { preconditionFailure("the survey begins with runa/") }
      pass = .seal
      let isClosed = try close(runa.descriptor, try current(entry, runa.descriptor, "runa"), "runa")
      runa.rewind()
      levels.append(Level(stream: runa, isClosed: isClosed))
      return false
    case .seal:
      pass = .settle
      try sealLog()
      stage()
      return false
    case .settle:
      try settle()
      return true
    }
  }

  private static let consoleLog = "agentd/\(Record.consoleLogName)"

  /// Seals console.log, whose mode stands for the whole record.
  private func sealLog() throws(AuditError) {
    guard let log = log?.raw, let entry = entries?.log else {
      preconditionFailure("the survey begins with it")
    }
    try set(Sealing.fileMode, on: log, try current(entry, log, Self.consoleLog), Self.consoleLog)
  }

  /// What a descriptor holds is by now. It is what it was found to be at first, where only this user and root could have
  /// changed that.
  private func current(_ entry: Entry, _ held: Int32, _ path: String) throws(AuditError) -> Entry {
    guard entry.owner != user else { return entry }
    let entry = try Entry(describing: "", in: held, path: path)
    _ = try kind(of: entry, path)
    return entry
  }

  /// Writes the last session.json under its temporary name. Where one has that name already, it is left to the publishing,
  /// which puts another in its place.
  private func stage() {
    guard let content = metadata?.json() else { return }
    let name = Record.temporaryMetadataName
    let flags = O_WRONLY | O_CREAT | O_EXCL
    guard let file = try? openDescriptor(name, in: agentdDescriptor, flags, mode: 0o600, path: name)
    else { return }
    do {
      try writeAll(content, to: file.raw, path: name)
      stagedFile = consume file
      stagedLength = content.count
    } catch {
      try? agentd?.remove(name)
    }
  }

  /// Waits for the disk.
  private func settle() throws(AuditError) {
    // What is staged first. It changed last, so the journal that this commits has all the rest in it.
    if let file = stagedFile?.raw, fsync(file) != 0 { stagedFile = nil }
    // For what the session printed and for the log's mode, the last of the tree's to change.
    guard let log = log?.raw, let runa else { preconditionFailure("the log and runa/ were sealed before") }
    try call("fsync", Self.consoleLog) { Int(fsync(log)) }
    // For the mode and the owner of runa/ on a file system without such a journal. Where there is one, it has nothing
    // left to write: hence the order.
    try call("fsync", "runa") { Int(fsync(runa.descriptor)) }
    // For the name of what is staged.
    guard let file = stagedFile.take(), let agentd = agentd.take(), (try? agentd.sync()) != nil else {
      return
    }
    staged = Sealing.Staged(.init(agentd: agentd, file: file), length: stagedLength)
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
      let isClosed = try close(held.raw, entry, path())
      try enter(".", in: held.raw, isClosed: isClosed, path())
    case .file:
      try set(Sealing.fileMode, on: held.raw, entry, path())
    }
  }

  /// Seals a directory that can be read, and enters it; false when the name is something else or cannot be opened for
  /// reading. What is read is what was judged, by one descriptor.
  private func sealDirectory(
    _ name: UnsafePointer<CChar>, in directory: Int32, _ path: String
  ) throws(AuditError) -> Bool {
    let raw = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    guard raw >= 0 else { return false }
    let stream = try DirectoryStream(reading: Descriptor(owning: raw), path: path)
    let entry = try Entry(describing: "", in: raw, path: path)
    _ = try kind(of: entry, path)
    let isClosed = try close(raw, entry, path)
    try descend(into: stream, isClosed: isClosed)
    return true
  }

  /// Seals a directory, before it is read: a name that is not there then cannot appear in it later. Tells whether nobody
  /// but this user and root can make a name in it stand for something else.
  private func close(
    _ held: Int32, _ entry: Entry, _ path: @autoclosure () -> String
  ) throws(AuditError) -> Bool {
    // Taken over first: its owner could open again what is closed.
    var isOurs = entry.owner == user
    if !isOurs { isOurs = agentd_entry_set_owner(held, user) == 0 }
    try set(Sealing.directoryMode, on: held, entry, path())
    return isOurs
  }

  /// Seals a name in a directory that is closed without holding what it names first, which takes as long as all the rest.
  /// False when it has to be held.
  private func sealNamed(
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
    case .directory: return try sealDirectory(name, in: directory, path())
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
    try descend(into: try open(name, in: directory, path), isClosed: isClosed)
  }

  private func descend(into stream: DirectoryStream, isClosed: Bool) throws(AuditError) {
    if levels.count == Sealing.depthLimit {
      throw .tooDeep(record: record.path, path: stream.path, limit: Sealing.depthLimit)
    }
    levels.append(Level(stream: stream, isClosed: isClosed))
  }

  private func open(
    _ name: UnsafePointer<CChar>, in directory: Int32, _ path: String
  ) throws(AuditError) -> DirectoryStream {
    let opened = try openDescriptor(name, in: directory, O_RDONLY | O_DIRECTORY, path: path)
    return try DirectoryStream(reading: opened, path: path)
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
