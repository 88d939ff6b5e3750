// A file of the journal: the facts of several sessions, one record behind the other.

internal import Glibc
internal import Reactor
internal import Synchronization
internal import SystemPackage

/// Takes records from the loop and from the worker. A record is one write that appends, so the kernel puts one behind the
/// other, and nobody waits for a lock.
///
/// It is a JSON text sequence (RFC 7464): a record begins with a separator, which is nowhere in one, and ends with a newline.
/// What was cut short, by a full disk or the daemon's end, ends where the next record begins, and not with a newline.
///
/// The files have a directory of their own, because the runtime directory is watched for what is written in it.
final class JournalFile: Sendable {
  private static let directory = "/journal"
  private static let suffix = ".json-seq"
  /// Numbers from here on are none of ours.
  private static let numberLimit = 1 << 53
  /// What is read at a time.
  private static let pieceSize = 1 << 16
  /// How often it is opened while its directory goes.
  private static let openAttempts = 4
  /// How often a record is written that was cut short: the second time the kernel says why.
  private static let writeAttempts = 2
  /// The largest file that is read or appended to, in bytes.
  static let sizeLimit = 1 << 24

  /// Its number, in the order in which files are made.
  let number: Int
  private let directory: String
  private let path: String
  private let raw = Atomic<Int32>(-1)
  private let hasNewDirectory = Atomic<Bool>(false)

  /// Names a file in the runtime directory. It is made when the first record is written.
  init(_ number: Int, in runtimeDirectory: String) {
    self.number = number
    directory = runtimeDirectory + Self.directory
    path = "\(directory)/\(number)\(Self.suffix)"
  }

  deinit {
    let raw = raw.load(ordering: .acquiring)
    if raw >= 0 { close(raw) }
  }

  /// Whether its directory had to be made for it: files that were made before it have gone.
  var isFirst: Bool { hasNewDirectory.load(ordering: .acquiring) }

  /// Appends a record. Whoever reads the file finds all of it, or, when it throws, nothing: safe to repeat then. Not waited
  /// for until it is on a disk: the runtime directory is a tmpfs, and a reboot ends sessions.
  ///
  /// - Returns: false where somebody has removed the file; nothing is written then.
  func append(_ record: [UInt8]) throws(SystemError) -> Bool {
    let raw = try open()
    var status = stat()
    guard fstat(raw, &status) == 0 else { throw SystemError("fstat \(path)", Errno(rawValue: errno)) }
    guard status.st_nlink > 0 else { return false }
    guard record.count <= Facts.sizeLimit, Int(status.st_size) + record.count <= Self.sizeLimit else {
      throw SystemError("write \(path)", .fileTooLarge)
    }
    for _ in 0..<Self.writeAttempts {
      let count = record.withUnsafeBytes { write(raw, $0.baseAddress, $0.count) }
      guard count >= 0 else { throw SystemError("write \(path)", Errno(rawValue: errno)) }
      guard count < record.count else { return true }
    }
    throw SystemError("write \(path)", .noSpace)
  }

  /// Opens it for the first record.
  private func open() throws(SystemError) -> Int32 {
    let known = raw.load(ordering: .acquiring)
    guard known < 0 else { return known }
    let opened = try make()
    // The loop and the worker may both have come for the first.
    let (isFirst, other) = raw.compareExchange(
      expected: -1, desired: opened, ordering: .acquiringAndReleasing)
    guard !isFirst else { return opened }
    close(opened)
    return other
  }

  private func make() throws(SystemError) -> Int32 {
    for _ in 0..<Self.openAttempts {
      let opened = Glibc.open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0o600)
      guard opened < 0 else { return opened }
      guard errno == ENOENT else { throw SystemError("open \(path)", Errno(rawValue: errno)) }
      if mkdir(directory, 0o700) == 0 {
        hasNewDirectory.store(true, ordering: .releasing)
      } else if errno != EEXIST {
        throw SystemError("mkdir \(directory)", Errno(rawValue: errno))
      }
      // Whoever removes the last file before this one removes the directory with it, perhaps just now.
    }
    throw SystemError("open \(path)", .noSuchFileOrDirectory)
  }

  /// All of it. Nothing where it has gone.
  func content() throws(SystemError) -> [UInt8] {
    let raw = Glibc.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
    guard raw >= 0 else {
      guard errno != ENOENT else { return [] }
      throw SystemError("open \(path)", Errno(rawValue: errno))
    }
    let file = Descriptor(owning: raw)
    var bytes: [UInt8] = []
    while true {
      var count = 0
      let piece = [UInt8](unsafeUninitializedCapacity: Self.pieceSize) { [raw = file.raw] buffer, filled in
        count = read(raw, buffer.baseAddress, buffer.count)
        filled = max(0, count)
      }
      guard count >= 0 else { throw SystemError("read \(path)", Errno(rawValue: errno)) }
      guard count > 0 else { return bytes }
      bytes += piece
      guard bytes.count <= Self.sizeLimit else { throw SystemError("read \(path)", .fileTooLarge) }
    }
  }

  /// The numbers of the files in a runtime directory, in their order.
  static func numbers(in runtimeDirectory: String) throws(SystemError) -> [Int] {
    let names: [String]
    do throws(SystemError) {
      names = try RuntimeDirectory.names(in: runtimeDirectory + directory)
    } catch {
      guard error.errno != .noSuchFileOrDirectory else { return [] }
      throw error
    }
    return names.compactMap { name in
      let digits = name.hasSuffix(suffix) ? name.dropLast(suffix.count) : ""
      return Int(digits).flatMap { (1..<numberLimit).contains($0) && String($0) == digits ? $0 : nil }
    }.sorted()
  }

  /// Removes it, and the directory with the last. What has gone is removed already.
  ///
  /// - Returns: why it is still there; nil where it is not.
  @discardableResult
  func remove() -> SystemError? {
    let result = unlink(path)
    let error = Errno(rawValue: errno)
    rmdir(directory)
    return result == 0 || error == .noSuchFileOrDirectory ? nil : SystemError("unlink \(path)", error)
  }
}
