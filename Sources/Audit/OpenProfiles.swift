// The directories of profiles, kept open: a daemon makes many records in few of them.

internal import CSupport
internal import Glibc
internal import Reactor
internal import SystemPackage
internal import Synchronization

/// The directories of the audit root that records are made in, each open from its first record on.
///
/// One is believed only while its path leads to it: whoever moves or removes it, or puts another in its place, finds the next
/// record where its path says. It is closed to others by then, too.
///
/// Every function waits for the disk: call it on the worker, never on the loop.
public final class OpenProfiles: Sendable {
  /// How many are kept open. A daemon with more profiles than that opens some of them anew.
  static let limit = 64

  /// The directory of a profile.
  final class Profile: Sendable {
    let directory: Directory
    private let device: dev_t
    private let inode: ino_t

    init(_ directory: consuming Directory) throws(AuditError) {
      var status = stat()
      let raw = directory.descriptor.raw
      try call("stat", directory.path) { Int(fstat(raw, &status)) }
      (device, inode) = (status.st_dev, status.st_ino)
      self.directory = directory
    }

    /// Whether its path leads to it, and it is as closed as it has to be.
    var isInPlace: Bool {
      var status = stat()
      return lstat(directory.path, &status) == 0 && status.st_dev == device && status.st_ino == inode
        && status.st_mode & 0o7777 == OpenProfiles.mode
    }
  }

  static let mode: mode_t = 0o700
  /// Where the records are.
  let auditRoot: String
  /// Whether the umask of this process takes nothing away from what its user may do.
  let givesModes: Bool
  private let profiles = Mutex<[String: Profile]>([:])

  /// Opens nothing yet.
  public init(auditRoot: String) {
    self.auditRoot = auditRoot
    givesModes = agentd_umask() & 0o700 == 0
  }

  /// The directory of a profile, where it is open and its path still leads to it.
  func known(_ path: FilePath) -> Profile? {
    guard let name = path.lastComponent?.string, let profile = profiles.withLock({ $0[name] }),
      profile.directory.path == path.string, profile.isInPlace
    else { return nil }
    return profile
  }

  /// The directory of a profile, which is made where it is missing.
  func open(_ name: String) throws(AuditError) -> Profile {
    let known = profiles.withLock { $0[name] }
    if let known, known.isInPlace { return known }
    let root = try Directory.openOrMake(FilePath(auditRoot))
    // Made by an earlier session or by hand: closed to others all the same.
    let profile = try Profile(try root.openOrMake(name, mode: Self.mode))
    profiles.withLock { profiles in
      if profiles.count >= Self.limit { profiles.removeAll() }
      profiles[name] = profile
    }
    return profile
  }
}
