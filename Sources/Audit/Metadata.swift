// What session.json says about a session.

public import JSON
public import Time

/// The content of `agentd/session.json`. What is not known is absent; `endTimestamp` and `outcome` are there
/// only in a finished record.
@dynamicMemberLookup
public struct Metadata: Decodable, Sendable, Equatable {
  /// The version of this form.
  public static let currentSchemaVersion = 1

  /// One step of a session and when it ran.
  public struct Phase: Decodable, Sendable, Equatable {
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

    fileprivate enum CodingKeys: String, CodingKey {
      case name
      case startTimestamp = "start_timestamp"
      case endTimestamp = "end_timestamp"
    }
  }

  /// What is known when the session is accepted, and never changes.
  public struct Origin: Decodable, Sendable, Equatable {
    /// The version of the form that this value was written in.
    public let schemaVersion: Int
    /// 16 hex digits; also the name of the record's directory.
    public let sessionID: String
    /// The 8 hex digits of the daemon that the session is of; absent in records of builds that did not write them.
    public let daemonID: String?
    /// The profile's name; also the name of the directory above.
    public let profile: String
    /// The repository that was cloned, without any credential.
    public let repoURL: String
    /// The work unit, where the invocation had one.
    public let workUnit: String?
    /// The occurrence of the profile's schedule that began it; absent when somebody asked by hand.
    public let scheduledFor: Timestamp?
    /// When the session was taken in.
    public let startTimestamp: Timestamp
    /// The image reference of the profile.
    public let image: String

    fileprivate enum CodingKeys: String, CodingKey {
      case schemaVersion = "schema_version"
      case sessionID = "session_id"
      case daemonID = "daemon_id"
      case profile
      case repoURL = "repo_url"
      case workUnit = "work_unit"
      case scheduledFor = "scheduled_for"
      case startTimestamp = "start_timestamp"
      case image
    }
  }

  /// What becomes known while the session lives.
  public struct Course: Decodable, Sendable, Equatable {
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

    fileprivate enum CodingKeys: String, CodingKey {
      case imageDigest = "image_digest"
      case commit
      case phases
      case endTimestamp = "end_timestamp"
      case outcome
      case exitCode = "exit_code"
      case signal
      case error
    }
  }

  /// What never changes.
  public let origin: Origin
  /// What does.
  public var course: Course

  /// The metadata of a session that starts; what comes later is assigned later.
  public init(
    sessionID: String, daemonID: String? = nil, profile: String, repoURL: String, workUnit: String? = nil,
    scheduledFor: Timestamp? = nil, startTimestamp: Timestamp, image: String, phases: [Phase] = []
  ) {
    origin = Origin(
      schemaVersion: Self.currentSchemaVersion, sessionID: sessionID, daemonID: daemonID, profile: profile,
      repoURL: repoURL, workUnit: workUnit, scheduledFor: scheduledFor, startTimestamp: startTimestamp,
      image: image)
    course = Course(phases: phases)
  }

  /// Both parts, which may have been kept apart.
  public init(_ origin: Origin, _ course: Course) {
    self.origin = origin
    self.course = course
  }

  /// A part of what never changes.
  public subscript<Value>(dynamicMember part: KeyPath<Origin, Value>) -> Value { origin[keyPath: part] }

  /// A part of what does.
  public subscript<Value>(dynamicMember part: WritableKeyPath<Course, Value>) -> Value {
    get { course[keyPath: part] }
    set { course[keyPath: part] = newValue }
  }

  /// Reads both parts from one object.
  public init(from decoder: any Decoder) throws {
    origin = try Origin(from: decoder)
    course = try Course(from: decoder)
  }

  /// The bytes of the file: sorted keys, one to a line, a newline at the end.
  public func json() -> [UInt8] { jsonLine(.pretty) }
}

// MARK: - Writing

extension Metadata: JSONObject {
  /// Writes both parts.
  public func writeFields(to json: inout JSONWriter) { Self.write(origin, course, to: &json) }

  /// Writes the fields of the parts that there are. One list, so that they are sorted where they share an object.
  static func write(
    _ origin: Origin?, _ course: Course?, _ summary: Summary? = nil, to json: inout JSONWriter
  ) {
    typealias OriginKey = Origin.CodingKeys
    typealias CourseKey = Course.CodingKeys
    json.field(CourseKey.commit, course?.commit)
    json.field(OriginKey.daemonID, origin?.daemonID)
    json.field(Summary.Key.durationMilliseconds, summary?.durationMilliseconds)
    json.field(CourseKey.endTimestamp, course?.endTimestamp)
    json.field(CourseKey.error, course?.error)
    json.field(CourseKey.exitCode, course?.exitCode)
    json.field(OriginKey.image, origin?.image)
    json.field(CourseKey.imageDigest, course?.imageDigest)
    json.field(CourseKey.outcome, course?.outcome)
    json.field(Summary.Key.phaseMilliseconds, summary?.phaseMilliseconds)
    json.field(CourseKey.phases, course?.phases)
    json.field(OriginKey.profile, origin?.profile)
    json.field(Summary.Key.record, summary?.record)
    json.field(OriginKey.repoURL, origin?.repoURL)
    json.field(OriginKey.scheduledFor, origin?.scheduledFor)
    json.field(OriginKey.schemaVersion, origin?.schemaVersion)
    json.field(OriginKey.sessionID, origin?.sessionID)
    json.field(CourseKey.signal, course?.signal)
    json.field(OriginKey.startTimestamp, origin?.startTimestamp)
    json.field(OriginKey.workUnit, origin?.workUnit)
  }
}

extension Metadata.Origin: JSONObject {
  /// Writes what never changes.
  public func writeFields(to json: inout JSONWriter) { Metadata.write(self, nil, to: &json) }
}

extension Metadata.Course: JSONObject {
  /// Writes what is known.
  public func writeFields(to json: inout JSONWriter) { Metadata.write(nil, self, to: &json) }
}

extension Metadata.Phase: JSONObject {
  /// Writes one step.
  public func writeFields(to json: inout JSONWriter) {
    json.field(CodingKeys.endTimestamp, endTimestamp)
    json.field(CodingKeys.name, name)
    json.field(CodingKeys.startTimestamp, startTimestamp)
  }
}
