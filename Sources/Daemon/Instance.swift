// Being the only daemon of a configuration: the lock on its pid file, its socket's place, its name in podman.

internal import Crypto
internal import Glibc
internal import Profiles
internal import Reactor
internal import SystemPackage

/// The claim on a pid file and a socket path. Its calls touch the file system: they belong on the worker.
final class Instance: Sendable {
  /// How often the socket's place is probed while who listens there hangs up, and the milliseconds it has for that.
  private static let probeAttempts = 10
  private static let probePatience: Int32 = 1000
  /// The longest pid that is read from a pid file, with its newline.
  private static let pidLimit = 32

  /// The first 8 hex digits of SHA-256 over the socket's and the pid file's absolute paths: what this daemon's
  /// containers are named with, so that two daemons never touch each other's.
  let id: String
  /// Where the private directories of its sessions are.
  let runtimeDirectory: String
  private let socketPath: String
  private let pidFile: String
  private let lock: Descriptor

  /// Claims the instance, or tells who has it.
  init(claiming settings: DaemonSettings) throws(StartFailure) {
    socketPath = settings.socketPath
    pidFile = settings.pidFile
    id = Self.id(settings)
    try Self.makeDirectory(Self.parent(of: pidFile))
    try Self.makeDirectory(Self.parent(of: socketPath))
    lock = try Self.claim(pidFile)
    runtimeDirectory = "\(Self.parent(of: socketPath))/\(id)"
    do throws(StartFailure) {
      try Self.clearPlace(for: socketPath)
      try Self.makeDirectory(runtimeDirectory)
    } catch {
      unlink(pidFile)
      throw error
    }
  }

  /// The name of the instance with these paths.
  static func id(_ settings: DaemonSettings) -> String {
    // NUL cannot be in a path, so no two pairs of paths run together.
    let digest = SHA256.hash(data: Array("\(settings.socketPath)\0\(settings.pidFile)".utf8))
    return digest.prefix(4).map { byte in
      let digits = String(byte, radix: 16)
      return digits.count == 1 ? "0" + digits : digits
    }.joined()
  }

  /// Gives the instance up: its socket and its pid file go, then the lock. The socket must have been closed.
  func resign() {
    // Who listens there now took the place before this daemon could, with another pid file.
    try? Self.clearPlace(for: socketPath)
    rmdir(runtimeDirectory)
    unlink(pidFile)
  }

  private static func parent(of path: String) -> String {
    let parent = path[..<(path.lastIndex(of: "/") ?? path.startIndex)]
    return parent.isEmpty ? "/" : String(parent)
  }

  /// Makes a directory for the owner only, its parents for everybody, and refuses one that others may write to.
  private static func makeDirectory(_ path: String) throws(StartFailure) {
    var status = stat()
    if lstat(path, &status) != 0 {
      if path != "/" { try makeParents(of: path) }
      guard mkdir(path, 0o700) == 0 || errno == EEXIST, lstat(path, &status) == 0 else {
        throw StartFailure(
          "The directory \(path) cannot be made: \(reason()). Make it, or choose another path.")
      }
    }
    // A link is as good as its target only when nobody else can turn it elsewhere.
    if status.st_mode & S_IFMT == S_IFLNK, isOurs(status) { stat(path, &status) }
    guard status.st_mode & S_IFMT == S_IFDIR else {
      throw StartFailure("\(path) is not a directory: remove it, or choose another path.")
    }
    let isClosed = status.st_mode & 0o022 == 0 || status.st_mode & S_ISVTX != 0
    guard isOurs(status), isClosed else {
      throw StartFailure(
        "Others may write to the directory \(path), and could replace the daemon's socket: "
          + "give it to the daemon's user with mode 0700, or choose another path.")
    }
  }

  private static func isOurs(_ status: stat) -> Bool { status.st_uid == geteuid() || status.st_uid == 0 }

  private static func makeParents(of path: String) throws(StartFailure) {
    let directory = parent(of: path)
    var status = stat()
    guard directory != "/", stat(directory, &status) != 0 else { return }
    try makeParents(of: directory)
    guard mkdir(directory, 0o755) == 0 || errno == EEXIST else {
      throw StartFailure(
        "The directory \(directory) cannot be made: \(reason()). Make it, or choose another path.")
    }
  }

  private static func claim(_ path: String) throws(StartFailure) -> Descriptor {
    while true {
      let raw = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
      guard raw >= 0 else {
        throw StartFailure(
          "The pid file \(path) cannot be opened: \(reason()). See to it, or choose another pid_file.")
      }
      let file = Descriptor(owning: raw)
      guard flock(raw, LOCK_EX | LOCK_NB) == 0 else {
        throw StartFailure(
          "Another daemon runs with this configuration (pid \(pid(in: raw) ?? "unknown"), \(path)): stop it first."
        )
      }
      // A daemon that was just leaving may have unlinked the file between open and lock: then this lock is of nothing.
      var held = stat()
      var named = stat()
      guard fstat(raw, &held) == 0, stat(path, &named) == 0, held.st_ino == named.st_ino,
        held.st_dev == named.st_dev
      else { continue }
      let text = "\(getpid())\n"
      guard ftruncate(raw, 0) == 0, pwrite(raw, text, text.utf8.count, 0) == text.utf8.count else {
        throw StartFailure(
          "The pid file \(path) cannot be written: \(reason()). See to it, or choose another pid_file.")
      }
      return file
    }
  }

  private static func pid(in raw: Int32) -> String? {
    let bytes = [UInt8](unsafeUninitializedCapacity: pidLimit) { buffer, filled in
      filled = max(0, pread(raw, buffer.baseAddress, buffer.count, 0))
    }
    let digits = bytes.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
    return digits.isEmpty ? nil : String(decoding: digits, as: UTF8.self)
  }

  /// Removes a socket that nobody listens on. Anything else at its path is somebody's.
  private static func clearPlace(for path: String) throws(StartFailure) {
    var status = stat()
    guard lstat(path, &status) == 0 else {
      guard errno == ENOENT else {
        throw StartFailure("The socket's place \(path) cannot be looked at: \(reason()).")
      }
      return
    }
    guard status.st_mode & S_IFMT == S_IFSOCK else {
      throw StartFailure("\(path) exists and is not a socket: remove it, or choose another socket_path.")
    }
    guard !isListening(path) else {
      throw StartFailure("Another program listens at \(path): stop it, or choose another socket_path.")
    }
    guard unlink(path) == 0 || errno == ENOENT else {
      throw StartFailure("The stale socket \(path) cannot be removed: \(reason()).")
    }
  }

  /// Only a refused connection shows that nobody does: a full queue, or a socket of another type, is somebody's.
  ///
  /// The kernel tears the ring of a killed daemon down some time after its end, and
  /// until then the daemon's socket takes connections. They are hung up when it goes: then the answer is another.
  private static func isListening(_ path: String) -> Bool {
    for _ in 0..<probeAttempts {
      switch UnixSocket.probe(path, patience: probePatience) {
      case .hungUp: continue
      case .failed(.connectionRefused), .failed(.noSuchFileOrDirectory): return false
      case .failed, .somebody: return true
      }
    }
    return true
  }

  private static func reason() -> String { "\(Errno(rawValue: errno))" }
}
