// What session.json says about a session.

internal import FoundationEssentials
public import Time

/// The content of `agentd/session.json`. What is not known is absent; `endTimestamp` and `outcome` are there
/// only in a finished record.
public struct Metadata: Codable, Sendable, Equatable {
  /// The version of this form.
  public static let currentSchemaVersion = 1

  /// One step of a session and when it ran.
  public struct Phase: Codable, Sendable, Equatable {
    /// What the session did.
    public var name: String
    /// When it began.
    public var startTimestamp: Timestamp
    /// When it ended; absent while it lasts.
    public var endTimestamp: Timestamp?

    /// A phase, which still lasts where no end is given.
    public init(name: String, startTimestamp: Timestamp, endTimestamp: Timestamp? = nil) {
      self.name = name
      self.startTimestamp = startTimestamp
      self.endTimestamp = endTimestamp
    }

    private enum CodingKeys: String, CodingKey {
      case name
      case startTimestamp = "start_timestamp"
      case endTimestamp = "end_timestamp"
    }
  }

  /// The version of the form that this value was written in.
  public private(set) var schemaVersion = Metadata.currentSchemaVersion
  /// 16 hex digits; also the name of the record's directory.
  public var sessionID: String
  /// The 8 hex digits of the daemon that the session is of; absent in records of builds that did not write them.
  public var daemonID: String?
  /// The profile's name; also the name of the directory above.
  public var profile: String
  /// The repository that was cloned, without any credential.
  public var repoURL: String
  /// The work unit, where the invocation had one.
  public var workUnit: String?
  /// The occurrence of the profile's schedule that began it; absent when somebody asked by hand.
  public var scheduledFor: Timestamp?
  /// When the session was taken in.
  public var startTimestamp: Timestamp
  /// The image reference of the profile.
  public var image: String
  /// The digest of the image that ran.
  public var imageDigest: String?
  /// The commit that was cloned.
  public var commit: String?
  /// What the session did, in order.
  public var phases: [Phase]
  /// When the session was over.
  public var endTimestamp: Timestamp?
  /// The outcome's label.
  public var outcome: String?
  /// The exit code of the session's command, where it exited.
  public var exitCode: Int32?
  /// The signal that ended the session's command, where one did.
  public var signal: Int32?
  /// One plain sentence, where the session failed before its command had an outcome.
  public var error: String?

  /// The metadata of a session that starts; what comes later is assigned later.
  public init(
    sessionID: String, daemonID: String? = nil, profile: String, repoURL: String, workUnit: String? = nil,
    scheduledFor: Timestamp? = nil, startTimestamp: Timestamp, image: String, phases: [Phase] = []
  ) {
    self.sessionID = sessionID
    self.daemonID = daemonID
    self.profile = profile
    self.repoURL = repoURL
    self.workUnit = workUnit
    self.scheduledFor = scheduledFor
    self.startTimestamp = startTimestamp
    self.image = image
    self.phases = phases
  }

  private enum CodingKeys: String, CodingKey {
    case schemaVersion = "schema_version"
    case sessionID = "session_id"
    case daemonID = "daemon_id"
    case profile
    case repoURL = "repo_url"
    case workUnit = "work_unit"
    case scheduledFor = "scheduled_for"
    case startTimestamp = "start_timestamp"
    case image
    case imageDigest = "image_digest"
    case commit
    case phases
    case endTimestamp = "end_timestamp"
    case outcome
    case exitCode = "exit_code"
    case signal
    case error
  }

  /// The bytes of the file: sorted keys, one to a line, a newline at the end.
  public func json() throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return [UInt8](try encoder.encode(self)) + [UInt8(ascii: "\n")]
  }
}
