// A session that was asked for and found in order.

internal import Engine
internal import Glibc
public import Profiles
public import Time

/// Everything that makes one session different from the next. Holds secrets, in its envelope.
public struct Invocation: Sendable {
  /// The environment to run in.
  public let profile: Profile
  /// What is cloned.
  public let repository: RepositoryURL
  /// What the session is to work on, if that was said.
  public let workUnit: WorkUnit?
  /// How long the session may run once it is released; nil for as long as it takes.
  public let timeout: Duration?
  /// The occurrence of the profile's schedule that it is for; nil when somebody asked by hand.
  public let scheduledFor: Timestamp?
  /// What the repository is fetched with on the host; nil for none, and once that is done. With it the envelope has none.
  public internal(set) var cloneToken: [UInt8]?
  /// What releases it; nil once it has been handed over.
  public internal(set) var envelope: Envelope?

  /// What podman's image store was like when the session was prepared; nil when nobody has looked.
  var imageStore: ImageStore.State?

  /// All of them.
  public init(
    profile: Profile, repository: RepositoryURL, workUnit: WorkUnit?, timeout: Duration?,
    scheduledFor: Timestamp? = nil, cloneToken: [UInt8]? = nil, envelope: Envelope
  ) {
    self.cloneToken = cloneToken
    self.profile = profile
    self.repository = repository
    self.workUnit = workUnit
    self.timeout = timeout
    self.scheduledFor = scheduledFor
    self.envelope = envelope
  }
}

extension Invocation {
  /// Makes sure that files are there which were there when the configuration was read. Waits for a disk.
  ///
  /// - Throws: `SessionRefusal` with a sentence that names the file.
  public static func requireFiles(of profile: Profile) throws(SessionRefusal) {
    let manifest = "\(profile.methodologyDirectory)/manifest.toml"
    guard access(manifest, R_OK) == 0 else {
      throw SessionRefusal(
        "Profile \(profile.name), methodology_dir: \(manifest) cannot be read. A methodology has a manifest.toml."
      )
    }
    for mount in profile.mounts where access(mount.source, F_OK) != 0 {
      throw SessionRefusal(
        "Profile \(profile.name), mount \(mount.target): its source \(mount.source) does not exist any more."
      )
    }
  }
}
