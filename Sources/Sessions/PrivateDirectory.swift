// The directory that a session has in the runtime directory while it lives.

internal import Glibc
public import Reactor
internal import SystemPackage

/// Holds a session's FIFO, its report and the process ids that podman writes. Nothing in it outlives the session.
///
/// Its calls touch the file system: they belong on the worker.
public struct PrivateDirectory: Sendable {
  /// Files in it that are looked at when it is removed. More are not ours.
  private static let entryLimit = 64
  /// The longest report that is read: three lines.
  private static let reportLimit = 4096

  /// Its absolute path.
  public let path: String
  /// The FIFO that the container is released through.
  public var envelopePath: String { "\(path)/envelope" }
  /// The file in which the setup tells how far it came.
  public var reportPath: String { "\(path)/report" }
  /// Where podman writes the process id of conmon.
  public var conmonPidPath: String { "\(path)/conmon.pid" }
  /// Where podman writes the process id of the container's init.
  public var containerPidPath: String { "\(path)/container.pid" }

  /// Names the directory of a session. Nothing is made.
  public init(runtimeDirectory: String, session: SessionID) { path = "\(runtimeDirectory)/\(session)" }

  /// Names a directory that was found.
  public init(path: String) { self.path = path }

  /// Makes the directory with FIFO and report, all for its owner only.
  ///
  /// - Returns: the FIFO, open for reading and writing, so that it keeps what is written before the container reads.
  func create() throws(SystemError) -> Descriptor {
    try check("mkdir \(path)", mkdir(path, 0o700))
    try check("mkfifo \(envelopePath)", mkfifo(envelopePath, 0o600))
    let report = open(reportPath, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    _ = Descriptor(owning: try check("open \(reportPath)", report))
    let envelope = open(envelopePath, O_RDWR | O_NONBLOCK | O_CLOEXEC)
    return Descriptor(owning: try check("open \(envelopePath)", envelope))
  }

  /// How far the setup came.
  func report() -> SetupReport { SetupReport(parsing: read(reportPath)) }

  /// The process ids of conmon and of the container's init, where podman has written them.
  func processIDs() -> (conmon: Int32?, container: Int32?) {
    func number(_ path: String) -> Int32? {
      let text = String(decoding: read(path), as: UTF8.self).prefix { $0.isNumber }
      return Int32(text).flatMap { $0 > 0 ? $0 : nil }
    }
    return (number(conmonPidPath), number(containerPidPath))
  }

  /// Removes the directory and the files in it. One that has gone is removed already.
  public func remove() throws(SystemError) {
    guard let directory = opendir(path) else {
      guard errno != ENOENT else { return }
      throw SystemError("open \(path)", Errno(rawValue: errno))
    }
    defer { closedir(directory) }
    var entries = 0
    while let entry = readdir(directory), entries < Self.entryLimit {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        bytes.prefix { $0 != 0 }.map { CChar(bitPattern: $0) } + [0]
      }
      guard name != [46, 0], name != [46, 46, 0] else { continue }
      entries += 1
      let result = unlinkat(dirfd(directory), name, 0)
      try check("unlink in \(path)", result)
    }
    try check("rmdir \(path)", rmdir(path))
  }

  @discardableResult
  private func check(_ call: String, _ result: Int32) throws(SystemError) -> Int32 {
    guard result < 0 else { return result }
    throw SystemError(call, Errno(rawValue: errno))
  }

  private func read(_ path: String) -> [UInt8] {
    let raw = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
    guard raw >= 0 else { return [] }
    let file = Descriptor(owning: raw)
    return [UInt8](unsafeUninitializedCapacity: Self.reportLimit) { buffer, filled in
      filled = max(0, Glibc.read(file.raw, buffer.baseAddress, buffer.count))
    }
  }
}
