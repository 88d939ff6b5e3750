// A session's record on disk: where its parts are, how it is made, written and published.

internal import Glibc
internal import Reactor
internal import SystemPackage
public import Time

/// A record, by its directory `{audit_root}/{profile}/{session_id}`:
///
///     runa/                 what the agent leaves; open to every user of the container while it runs
///     agentd/session.json   what agentd knows of the session; read-only once the record is complete
///     agentd/console.log    what the session printed, in podman's k8s-file format
///
/// The directories around `runa/` are this user's only, so that nobody else on the host reaches it. They stay
/// writable for this user: replacing session.json inside `agentd/` is the last thing that happens to a record.
///
/// Every function waits for the disk: call it on the worker, never on the loop.
public struct Record: Sendable, Hashable {
  /// The record's directory.
  public let path: String

  /// A record that is there already.
  public init(path: String) {
    self.path = Record.normalized(path)
  }

  /// The record of a session, which need not be there.
  public init(auditRoot: String, profile: String, session: String) {
    let root = Record.normalized(auditRoot)
    path =
      root.utf8.last == UInt8(ascii: "/") ? "\(root)\(profile)/\(session)" : "\(root)/\(profile)/\(session)"
  }

  /// A path without slashes that mean nothing. Most have none, and are not taken apart to find that out.
  static func normalized(_ path: String) -> String {
    let isPlain = path.utf8.last != UInt8(ascii: "/") && path.withCString { strstr($0, "//") == nil }
    return isPlain ? path : FilePath(path).string
  }

  /// The directory that the session writes to.
  public var runaPath: String { return path + "/runa" }
  /// The file that podman logs to.
  public var consoleLogPath: String { return path + "/agentd/" + Record.consoleLogName }
  /// The file that says what the session was and how it ended.
  public var metadataPath: String { return path + "/agentd/" + Record.metadataName }

  static let consoleLogName = "console.log"
  static let metadataName = "session.json"
  /// What becomes session.json next, by a rename. One name for all: a daemon that died in mid-write leaves no more than one,
  /// and the next write takes its place. Once the record is sealed it may be whole, on the disk, and all that tells of the
  /// outcome there (`Sealing.Staged`).
  static let temporaryMetadataName = ".session.json.new"
  /// What takes the place of that, where there is one.
  static let nextMetadataName = ".session.json.next"
}

// MARK: - Making

extension Record {
  /// Shows that records can be made below the audit root, which is made where it is missing: writes a file
  /// there, to the disk, and removes it.
  public static func proveWritable(auditRoot: String) throws(AuditError) {
    let root = try Directory.openOrMake(FilePath(auditRoot))
    let name = ".agentd-probe-\(getpid())"
    // A daemon with our number may have died here: in a container it is 1 every time.
    try root.remove(name)
    try root.create(
      name, mode: 0o600, content: Array("agentd can write here\n".utf8), isSynchronized: true)
    try root.remove(name)
    try root.sync()
  }

  /// Makes the record of a session that starts. It is on the disk only after `Fresh.synchronize()`.
  ///
  /// The disk is waited for only where the profile has no directory in the audit root yet. That is once in a profile's
  /// life, and here, because another session of the profile may be synchronized before this one.
  ///
  /// A record costs the daemon as many calls as it has parts: each is named in the directory that it is in, and modes are
  /// those that the calls give, unless the umask takes something away from them.
  ///
  /// Throws `.collision` when the record's directory is there already; where anything else fails, nothing of the record
  /// is left.
  public static func make(in profiles: OpenProfiles, metadata: Metadata) throws(AuditError) -> Fresh {
    try checkNames(metadata)
    let profile = try profiles.open(metadata.profile)
    let id = metadata.sessionID
    let record = Record(path: profile.directory.path(of: id))
    let content = metadata.json()
    guard try profile.directory.make(id, mode: 0o700) else { throw .collision(record: record.path) }
    do {
      return try record.fill(profile, id, content, setsModes: !profiles.givesModes)
    } catch {
      record.discard(from: profile.directory)
      throw error
    }
  }

  /// Makes a record as above, below an audit root of which no directory is open, and keeps nothing of it open.
  public static func create(auditRoot: String, metadata: Metadata) throws(AuditError) -> Record {
    try make(in: OpenProfiles(auditRoot: auditRoot), metadata: metadata).record
  }

  private static func checkNames(_ metadata: Metadata) throws(AuditError) {
    for name in [metadata.profile, metadata.sessionID]
    where name.isEmpty || name == "." || name == ".." || name.utf8.contains(where: { $0 == 0x2F || $0 == 0 })
    {
      throw .unusableName(name)
    }
  }

  /// - Parameter setsModes: whether the umask takes something away from what its own user may do, so that a directory has to
  ///   get its mode before anything can be made in it.
  private func fill(
    _ profile: OpenProfiles.Profile, _ id: String, _ content: [UInt8], setsModes: Bool
  ) throws(AuditError) -> Fresh {
    if setsModes { try profile.directory.setMode(0o700, of: id) }
    let directory = try profile.directory.open(id)
    _ = try directory.make("runa", mode: 0o777)
    try directory.setMode(0o777, of: "runa")
    _ = try directory.make("agentd", mode: 0o700)
    if setsModes { try directory.setMode(0o700, of: "agentd") }
    let agentd = try directory.open("agentd")
    try agentd.makeFile(Record.consoleLogName, mode: 0o600)
    if setsModes { try agentd.setMode(0o600, of: Record.consoleLogName) }
    // The last, because with it the record counts as made.
    let file = try agentd.create(
      Record.metadataName, mode: 0o600, content: content, isSynchronized: false)
    return Fresh(self, Parts(directory: directory, agentd: agentd, metadata: file), profile)
  }

  /// What of a record has to be on the disk, open. console.log is empty and `runa/` too: their names are all there is of
  /// them.
  fileprivate struct Parts: ~Copyable {
    let directory: Directory
    let agentd: Directory
    let metadata: Descriptor

    init(directory: consuming Directory, agentd: consuming Directory, metadata: consuming Descriptor) {
      self.directory = directory
      self.agentd = agentd
      self.metadata = metadata
    }

    /// Opens those of a record that was made before.
    init(of id: String, in profile: borrowing Directory) throws(AuditError) {
      let directory = try profile.open(id)
      let agentd = try directory.open("agentd")
      let name = Record.metadataName
      let file = try openDescriptor(name, in: agentd.descriptor.raw, O_RDONLY, path: agentd.path(of: name))
      self.init(directory: directory, agentd: agentd, metadata: file)
    }

    /// From below: a name is waited for when what it names is on the disk.
    func synchronize(in profile: borrowing Directory) throws(AuditError) {
      try call("fsync", agentd.path(of: Record.metadataName)) { [raw = metadata.raw] in Int(fsync(raw)) }
      try agentd.sync()
      try directory.sync()
      try profile.sync()
    }
  }

  /// A record that was just made. It holds three descriptors.
  public final class Fresh: Sendable {
    /// The record.
    public let record: Record
    private let parts: Parts
    private let profile: OpenProfiles.Profile

    fileprivate init(_ record: Record, _ parts: consuming Parts, _ profile: OpenProfiles.Profile) {
      self.record = record
      self.parts = parts
      self.profile = profile
    }

    /// Waits until the record is on the disk, as `Record.synchronize` does.
    public func synchronize() throws(AuditError) { try parts.synchronize(in: profile.directory) }
  }

  /// Waits until the record is on the disk as it was made. To be called before the session's command can do anything; and of
  /// a session that never comes so far, before its record is published, which waits for session.json only. Doing it twice
  /// does no harm.
  ///
  /// From below: a name is waited for when what it names is on the disk. A file system may be quicker with a name than
  /// with what it names, so a power failure before the end may leave directories without a session.json, or with one
  /// that is empty. Either is no record to `standing` and `unfinished`; any other is whole.
  ///
  /// - Throws: `AuditError` when the record is not there, or the disk fails. The record is left as it is.
  ///
  /// - Parameter profiles: directories that may be open already, the record's among them.
  public func synchronize(in profiles: OpenProfiles? = nil) throws(AuditError) {
    let path = FilePath(path)
    let above = path.removingLastComponent()
    let id = path.lastComponent?.string ?? ""
    if let known = profiles?.known(above) {
      try Parts(of: id, in: known.directory).synchronize(in: known.directory)
    } else {
      let profile = try Directory(path: above.string)
      try Parts(of: id, in: profile).synchronize(in: profile)
    }
  }

  /// Removes a record that nothing was written into but what `make` makes; what cannot be removed is left for the
  /// operator.
  public func discard() {
    let path = FilePath(path)
    guard let profile = try? Directory(path: path.removingLastComponent().string) else { return }
    discard(from: profile)
  }

  private func discard(from profile: borrowing Directory) {
    let name = FilePath(path).lastComponent?.string ?? ""
    if let directory = try? profile.open(name) {
      if let agentd = try? directory.open("agentd") {
        let names = [
          Record.consoleLogName, Record.metadataName, Record.temporaryMetadataName, Record.nextMetadataName,
        ]
        for file in names {
          try? agentd.remove(file)
        }
      }
      for folder in ["agentd", "runa"] { try? directory.remove(folder, flags: AT_REMOVEDIR) }
    }
    try? profile.remove(name, flags: AT_REMOVEDIR)
  }
}

// MARK: - Writing

extension Record {
  /// Replaces session.json: whoever reads it finds the old content or the new one, whole, even after a crash.
  func write(
    _ content: [UInt8], mode: mode_t, in agentd: borrowing Directory
  ) throws(AuditError) {
    let temporary = Record.temporaryMetadataName
    do {
      try agentd.create(temporary, mode: mode, content: content, isSynchronized: true)
    } catch .system(_, _, EEXIST) {
      // It may be a staged one, and all that tells of the outcome if the power fails now: it is replaced, not removed.
      let next = Record.nextMetadataName
      try agentd.remove(next)
      try agentd.create(next, mode: mode, content: content, isSynchronized: true)
      try agentd.rename(next, to: temporary)
    }
    try agentd.rename(temporary, to: Record.metadataName)
    try agentd.sync()
  }

  /// Opens `agentd/`; a symlink in its place is refused.
  func openAgentd() throws(AuditError) -> Directory {
    let path = path + "/agentd"
    return Directory(descriptor: try openDescriptor(path, O_RDONLY | O_DIRECTORY, path: path), path: path)
  }

  /// Completes a sealed record with its last session.json, read-only. Nothing happens to a record after that.
  ///
  /// What was sealed is on the disk since the last step of its `Sealing`. Where a session.json of the same size was staged
  /// with it, no disk is waited for: the outcome is there under one name or the other, whenever the power fails. All that
  /// can differ is when the last phases ended. Otherwise the new session.json is waited for: its content first, then its
  /// name.
  ///
  /// - Parameter staged: what the record's `Sealing` has staged.
  /// - Returns: what nobody needs any more and takes its time to be let go.
  @discardableResult
  public func publish(
    _ metadata: Metadata, staged: Sealing.Staged? = nil
  ) throws(AuditError) -> Replaced? {
    let content = metadata.json()
    if let staged, staged.length == content.count, let replaced = try? publish(content, by: staged) {
      return replaced
    }
    let agentd = try openAgentd()
    // Sealing ends with console.log, so its mode stands for the whole record.
    let log = try Entry(
      describing: Record.consoleLogName, in: agentd.descriptor.raw, path: consoleLogPath)
    guard log.type == S_IFREG, log.permissions == Sealing.fileMode else { throw .notSealed(record: path) }
    try write(content, mode: Sealing.fileMode, in: agentd)
    return nil
  }

  /// A session.json that has lost its name, held open until it is released. The file system then gives its blocks back,
  /// and some wait for the disk to do it (ext4 with `discard`: a millisecond).
  public final class Replaced: Sendable {
    private let file: Descriptor
    fileprivate init(_ file: consuming Descriptor) { self.file = file }
  }

  /// Makes the staged file session.json. Not yet under that name it gets its last content, which differs in moments only: so
  /// what a power failure leaves of the two is whole and has the outcome.
  private func publish(_ content: [UInt8], by staged: Sealing.Staged) throws(AuditError) -> Replaced {
    var held = staged.takeParts()
    if held == nil { held = try openStaged() }
    guard let parts = held.take() else { preconditionFailure("what is not held was opened") }
    let (agentd, file, name) = (parts.agentd.descriptor.raw, parts.file.raw, Record.temporaryMetadataName)
    let replaced = try hold(Record.metadataName, in: agentd, path: metadataPath)
    // It is as long as what was staged: that is written over.
    try writeAll(content, to: file, at: 0, path: parts.agentd.path(of: name))
    try call("chmod", parts.agentd.path(of: name)) { Int(fchmod(file, Sealing.fileMode)) }
    try parts.agentd.rename(name, to: Record.metadataName)
    return Replaced(replaced)
  }

  private func openStaged() throws(AuditError) -> Sealing.Staged.Parts {
    let agentd = try openAgentd()
    let name = Record.temporaryMetadataName
    let file = try openDescriptor(name, in: agentd.descriptor.raw, O_WRONLY, path: agentd.path(of: name))
    return Sealing.Staged.Parts(agentd: agentd, file: file)
  }

  /// Adds a line of agentd's own to what the session printed, in podman's k8s-file format. The sentence is kept
  /// to one line: control characters in it become spaces.
  ///
  /// Safe to repeat: nothing happens when the log ends with the sentence, or when its sealing had begun.
  public func appendToConsole(_ sentence: String, at time: Timestamp) throws(AuditError) {
    let line = String(String.UnicodeScalarView(sentence.unicodeScalars.map { isControl($0) ? " " : $0 }))
    let agentd = try openAgentd()
    let entry = try Entry(
      describing: Record.consoleLogName, in: agentd.descriptor.raw, path: consoleLogPath)
    guard entry.permissions != Sealing.fileMode else { return }
    let log = try openDescriptor(
      Record.consoleLogName, in: agentd.descriptor.raw, O_RDWR | O_APPEND, path: consoleLogPath)
    let words = Array(" stderr F agentd: \(line)\n".utf8)
    let end = try lastBytes(words.count, of: log.raw)
    guard end != words else { return }
    // A log writer that was killed may have left half a line.
    let start = end.isEmpty || end.last == UInt8(ascii: "\n") ? "" : "\n"
    try writeAll(Array("\(start)\(time.rfc3339Nanoseconds)".utf8) + words, to: log.raw, path: consoleLogPath)
  }

  private func lastBytes(_ count: Int, of log: Int32) throws(AuditError) -> [UInt8] {
    let size = try call("lseek", consoleLogPath) { Int(lseek(log, 0, SEEK_END)) }
    var bytes = [UInt8](repeating: 0, count: min(count, size))
    let read = try call("read", consoleLogPath) { pread(log, &bytes, bytes.count, off_t(size - bytes.count)) }
    return Array(bytes.prefix(read))
  }
}
