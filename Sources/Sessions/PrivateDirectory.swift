// The directory that a session has in the runtime directory until its record is complete.

internal import Glibc
public import Reactor
internal import SystemPackage
internal import Time

/// Holds a session's FIFO and the process ids that podman writes. The session's report is beside it, so that one watch of the
/// runtime directory tells of the reports of all sessions; it is there only while the directory is. A session that has none
/// is over, whatever the journal says of it; or somebody has removed it.
///
/// Its calls touch the file system: they go by `SessionHost.onRuntimeDirectory`. What each session needs is named in the
/// runtime directory, where that is open, so that its path is not walked for each; what is rare goes by the path.
public struct PrivateDirectory: Sendable {
  /// Files in it that are looked at when it is removed. More are not ours.
  private static let entryLimit = 64
  /// The longest report that is read: three lines.
  private static let reportLimit = 4096
  /// The longest process id that is read, with what podman may put behind it.
  private static let pidLimit = 32
  /// What is read at a time.
  private static let pieceSize = 512

  // What follows its own name in those of its files.

  private static let envelope = "/envelope"
  private static let report = ".report"
  /// Where builds before this one had the report.
  private static let formerReport = "/report"
  private static let conmonPid = "/conmon.pid"
  private static let containerPid = "/container.pid"
  /// Where builds before the journal had the facts.
  private static let formerFacts = "/facts.jsonl"

  /// What it is named in; nil where its path is the name.
  private let parent: RuntimeDirectory?
  /// Its name in that.
  private let name: String

  /// Its absolute path.
  public var path: String { parent.map { $0.prefix + name } ?? name }
  /// The FIFO that the container is released through.
  public var envelopePath: String { path + Self.envelope }
  /// The file in which the setup tells how far it came.
  public var reportPath: String { path + Self.report }
  /// Where podman writes the process id of conmon.
  public var conmonPidPath: String { path + Self.conmonPid }
  /// Where podman writes the process id of the container's init.
  public var containerPidPath: String { path + Self.containerPid }

  /// Names the directory of a session. Nothing is made.
  init(in runtimeDirectory: RuntimeDirectory, session: SessionID) {
    parent = runtimeDirectory
    name = session.description
  }

  /// Names a directory that was found.
  public init(path: String) {
    parent = nil
    name = path
  }

  private var root: Int32 { parent?.raw ?? AT_FDCWD }

  /// Lends out what a file of its own is named in `root`. No string is made of it: a session names some twenty.
  private func withPlace<Result>(of file: String, _ body: (UnsafePointer<CChar>) -> Result) -> Result {
    name.withCString { name in
      file.withCString { file in
        let (first, second) = (strlen(name), strlen(file))
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: first + second + 1) { place in
          guard let start = place.baseAddress else { preconditionFailure("a name has room for its end") }
          memcpy(start, name, first)
          memcpy(start + first, file, second + 1)
          return body(start)
        }
      }
    }
  }

  /// The session whose report has this name in the runtime directory; nil for any other file.
  static func session(ofReport name: String) -> SessionID? {
    guard name.hasSuffix(report) else { return nil }
    return SessionID(name.dropLast(report.count))
  }

  /// The sessions that have a directory in the runtime directory.
  static func sessions(in runtimeDirectory: String) throws(SystemError) -> [SessionID] {
    try RuntimeDirectory.names(in: runtimeDirectory).compactMap { SessionID($0) }
  }

  /// Makes the directory with FIFO and report, all for its owner only.
  ///
  /// - Returns: false where the runtime directory is another than the one that is open. Nothing is left then.
  func create() throws(SystemError) -> Bool {
    // By its path, which is what podman gets.
    try check("mkdir \(path)", path.withCString { mkdir($0, 0o700) })
    if withPlace(of: Self.envelope, { mkfifoat(root, $0, 0o600) }) < 0 {
      let error = errno
      guard error == ENOENT, parent != nil else {
        throw SystemError("mkfifo \(envelopePath)", Errno(rawValue: error))
      }
      rmdir(path)
      return false
    }
    try check("mknod \(reportPath)", withPlace(of: Self.report) { mknodat(root, $0, S_IFREG | 0o600, 0) })
    return true
  }

  /// Makes the directory again where it was lost.
  func restore() throws(SystemError) {
    guard path.withCString({ mkdir($0, 0o700) }) < 0, errno != EEXIST else { return }
    throw SystemError("mkdir \(path)", Errno(rawValue: errno))
  }

  /// Opens the FIFO for reading and writing, so that it keeps what is written before the container reads. A container that
  /// waits for somebody to write into it goes on then.
  func openEnvelope() throws(SystemError) -> Descriptor {
    let envelope = withPlace(of: Self.envelope) { openat(root, $0, O_RDWR | O_NONBLOCK | O_CLOEXEC) }
    return Descriptor(owning: try check("open \(envelopePath)", envelope))
  }

  /// The facts as a build before the journal has left them; nil when there are none, or that daemon was killed while it made
  /// them.
  func formerFacts() throws(Facts.Unreadable) -> Facts? {
    let raw = withPlace(of: Self.formerFacts) {
      openat(root, $0, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
    }
    guard raw >= 0 else {
      guard errno != ENOENT else { return nil }
      throw Facts.Unreadable(reason: "\(Errno(rawValue: errno))")
    }
    return try Facts(former: try content(of: Descriptor(owning: raw)))
  }

  private func content(of file: borrowing Descriptor) throws(Facts.Unreadable) -> [UInt8] {
    var bytes: [UInt8] = []
    while true {
      let chunk = [UInt8](unsafeUninitializedCapacity: 1 << 14) { [raw = file.raw] buffer, filled in
        filled = max(0, Glibc.read(raw, buffer.baseAddress, buffer.count))
      }
      guard !chunk.isEmpty else { return bytes }
      bytes += chunk
      guard bytes.count <= Facts.sizeLimit else { throw Facts.Unreadable(reason: "it is too large") }
    }
  }

  // MARK: What the container and podman write

  /// How many bytes of the envelope wait in the FIFO for the container; nil when that cannot be told.
  func unreadEnvelope() -> Int? { NamedPipe.unreadBytes(at: envelopePath) }

  /// When the report was last written to; nil when there is none.
  func reportTime() -> Timestamp? {
    var status = stat()
    guard stat(reportPath, &status) == 0 else { return nil }
    return Timestamp(secondsSinceEpoch: Int64(status.st_mtim.tv_sec))
      + .nanoseconds(Int64(status.st_mtim.tv_nsec))
  }

  /// How far the setup came.
  func report() -> SetupReport { SetupReport(parsing: read(Self.report, limit: Self.reportLimit)) }

  /// Brings the report that an earlier build has made to where it is watched now. The container that has it mounted goes on
  /// writing into it, because it is the same file.
  func adoptFormerReport() {
    _ = withPlace(of: Self.formerReport) { former in
      withPlace(of: Self.report) { renameat(root, former, root, $0) }
    }
  }

  /// The process ids of conmon and of the container's init, where podman has written them.
  func processIDs() -> (conmon: Int32?, container: Int32?) {
    func number(_ file: String) -> Int32? {
      let digits = read(file, limit: Self.pidLimit).prefix { (0x30...0x39).contains($0) }
      let text = String(decoding: digits, as: UTF8.self)
      return Int32(text).flatMap { $0 > 0 ? $0 : nil }
    }
    return (number(Self.conmonPid), number(Self.containerPid))
  }

  // MARK: Removing

  /// Removes it after its session, whose record holds the outcome by now. What has gone is removed already.
  func removeWhenComplete() throws(SystemError) {
    for file in [Self.envelope, Self.report, Self.conmonPid, Self.containerPid] {
      _ = withPlace(of: file) { unlinkat(root, $0, 0) }
    }
    // Something was not removed, or there is something else in it: `remove` looks what.
    if name.withCString({ unlinkat(root, $0, AT_REMOVEDIR) }) != 0 { try remove() }
  }

  /// Removes the report, and the directory with the files in it. What has gone is removed already.
  public func remove() throws(SystemError) {
    let report = reportPath
    if unlink(report) != 0, errno != ENOENT { throw SystemError("unlink \(report)", Errno(rawValue: errno)) }
    guard let directory = opendir(path) else {
      guard errno != ENOENT else { return }
      throw SystemError("open \(path)", Errno(rawValue: errno))
    }
    defer { closedir(directory) }
    var entries = 0
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      guard name != ".", name != ".." else { continue }
      entries += 1
      guard entries <= Self.entryLimit else { throw SystemError("rmdir \(path)", .directoryNotEmpty) }
      try check("unlink \(name) in \(path)", unlinkat(dirfd(directory), name, 0))
    }
    guard rmdir(path) != 0, errno != ENOENT else { return }
    throw SystemError("rmdir \(path)", Errno(rawValue: errno))
  }

  @discardableResult
  private func check(_ call: @autoclosure () -> String, _ result: Int32) throws(SystemError) -> Int32 {
    guard result < 0 else { return result }
    let error = Errno(rawValue: errno)
    throw SystemError(call(), error)
  }

  private func read(_ file: String, limit: Int) -> [UInt8] {
    let raw = withPlace(of: file) { openat(root, $0, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) }
    guard raw >= 0 else { return [] }
    let file = Descriptor(owning: raw)
    // By pieces that need no memory of their own: most files are one, and a short one is the last.
    return withUnsafeTemporaryAllocation(byteCount: Self.pieceSize, alignment: 1) { piece in
      var bytes: [UInt8] = []
      while bytes.count < limit {
        let count = Glibc.read(file.raw, piece.baseAddress, min(piece.count, limit - bytes.count))
        if count > 0 { bytes += piece[..<count] }
        guard count == piece.count else { break }
      }
      return bytes
    }
  }
}
