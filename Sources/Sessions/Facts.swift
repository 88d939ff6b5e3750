// What the next daemon has to know of a session, so that it can go on where this one ends.

internal import Audit
internal import FoundationEssentials
internal import JSON
internal import Profiles
internal import Reactor
internal import Time

/// What the journal has of a session: what never changes, and with each step all that does. The last record holds.
///
/// Each step is in the journal before the session takes it, so what they say has at least been tried, and what comes
/// after it has not. Names and sources of credentials are in it, their values never.
@dynamicMemberLookup
struct Facts: Sendable, Equatable {
  /// The version of this form. Facts of another one cannot be read.
  static let currentVersion = 2
  /// The largest record, in bytes. A profile comes from a configuration file, which is smaller.
  static let sizeLimit = 1 << 22

  /// How far the session has come at least.
  enum Step: String, Decodable, JSONWritable, Sendable, CaseIterable {
    /// It waits for its turn: the next daemon lets it go on waiting.
    case queued
    /// podman may have been asked for its container, which has no envelope.
    case prepared
    /// The envelope may have been written.
    case released
    /// The container has ended, or will never be: `ending` says how.
    case ended

    /// Builds before this one wrote `launching` for what is `prepared`, too.
    init(from decoder: any Decoder) throws {
      let word = try decoder.singleValueContainer().decode(String.self)
      guard let step = Self(rawValue: word == "launching" ? "prepared" : word) else {
        throw DecodingError.dataCorrupted(
          .init(codingPath: decoder.codingPath, debugDescription: "no step is called \(word)"))
      }
      self = step
    }
  }

  /// Why the daemon had begun to end the session.
  enum RequestedEnd: String, Decodable, JSONWritable, Sendable {
    /// Somebody asked for it.
    case stop
    /// Its time was over.
    case deadline
  }

  /// The profile as it was when the session was accepted.
  struct Environment: Decodable, Sendable, Equatable {
    struct Mount: Decodable, Sendable, Equatable {
      let source: String
      let target: String
      let isReadOnly: Bool
    }

    struct Credential: Decodable, Sendable, Equatable {
      let name: String
      let source: String
    }

    let name: String
    let baseImage: String
    let methodologyDirectory: String
    let command: [String]
    let mounts: [Mount]
    let credentials: [Credential]
    let repositoryTokenSource: String?
    /// nil in facts of builds without mirrors.
    let repositoryCache: Bool?
  }

  /// What never changes.
  struct Origin: Decodable, Sendable, Equatable {
    let version: Int
    /// nil when only the record tells of the session.
    let profile: Environment?
    let containerName: String
    /// The record's directory.
    let record: String
    /// The run of the machine in which the moments below mean something.
    let bootID: String
    /// When the session was accepted, in nanoseconds of the monotonic clock.
    let acceptedNanoseconds: UInt64
    /// How long it may run once it is released.
    let timeoutNanoseconds: UInt64?
    /// What its record says from the beginning.
    let metadata: Metadata.Origin
  }

  /// What does change: written whole with each step, so that no step can forget something.
  struct Progress: Decodable, Sendable, Equatable {
    var step: Step
    /// When its time is over, in nanoseconds of the monotonic clock; from `released` on.
    var deadlineNanoseconds: UInt64?
    /// Why its container was told to end; nil when it was not.
    var requestedEnd: RequestedEnd?
    /// Whether a part of the envelope still waits in the daemon, because it is more than the pipe holds: it goes with the
    /// daemon. nil when none does.
    var isPartlyReleased: Bool?
    /// How it ended; from `ended` on.
    var ending: Ending?
    /// What its record will say, as far as it is known.
    var metadata: Metadata.Course
  }

  let origin: Origin
  var progress: Progress

  /// The facts of a session that was just accepted.
  init(
    _ invocation: Invocation, _ step: Step = .prepared, containerName: String, record: String,
    accepted: Instant, metadata: Metadata
  ) {
    origin = Origin(
      version: Self.currentVersion, profile: Environment(invocation.profile), containerName: containerName,
      record: record, bootID: Boot.id, acceptedNanoseconds: accepted.nanoseconds,
      timeoutNanoseconds: invocation.timeout?.wholeNanoseconds, metadata: metadata.origin)
    progress = Progress(step: step, metadata: metadata.course)
  }

  /// What a record tells of a session whose facts are lost.
  init(_ metadata: Metadata, containerName: String, record: String, accepted: Instant) {
    origin = Origin(
      version: Self.currentVersion, profile: nil, containerName: containerName, record: record,
      bootID: Boot.id, acceptedNanoseconds: accepted.nanoseconds, timeoutNanoseconds: nil,
      metadata: metadata.origin)
    progress = Progress(step: .prepared, metadata: metadata.course)
  }

  subscript<Value>(dynamicMember part: KeyPath<Origin, Value>) -> Value { origin[keyPath: part] }

  subscript<Value>(dynamicMember part: WritableKeyPath<Progress, Value>) -> Value {
    get { progress[keyPath: part] }
    set { progress[keyPath: part] = newValue }
  }

  /// What its record will say, as far as it is known.
  var metadata: Metadata {
    get { Metadata(origin.metadata, progress.metadata) }
    set { progress.metadata = newValue.course }
  }

  /// When the session must have ended; nil when it may take as long as it takes.
  var deadline: Instant? { progress.deadlineNanoseconds.map { Instant(nanoseconds: $0) } }

  /// Reads records of a session.
  ///
  /// - Parameters:
  ///   - whole: the last one that says what never changes.
  ///   - latest: the last one. No other: an earlier one would say that less was tried than was.
  /// - Throws: why they cannot be read, as a clause.
  init(_ whole: [UInt8], latest: [UInt8]) throws(Unreadable) {
    struct Version: Decodable {
      struct Origin: Decodable { let version: Int }
      let origin: Origin
    }
    struct Whole: Decodable { let origin: Origin }
    struct Latest: Decodable { let progress: Progress }
    let decoder = JSONDecoder()
    try Self.requireVersion(try? decoder.decode(Version.self, from: Data(whole)).origin.version)
    do {
      origin = try decoder.decode(Whole.self, from: Data(whole)).origin
      progress = try decoder.decode(Latest.self, from: Data(latest)).progress
    } catch {
      throw Unreadable(reason: "it lacks something")
    }
  }

  /// Reads the file that builds before the journal had for each session: a line with what never changes, and one for each
  /// step. What follows its last newline is of a step that was not taken. nil where the making was cut short: of such a file
  /// no session was accepted.
  ///
  /// - Throws: why it cannot be read, as a clause.
  init?(former bytes: [UInt8]) throws(Unreadable) {
    struct Version: Decodable { let version: Int }
    guard let end = bytes.lastIndex(of: Self.newline), bytes.firstIndex(of: Self.newline) != end else {
      return nil
    }
    let decoder = JSONDecoder()
    let lines = bytes[..<end].split(separator: Self.newline)
    try Self.requireVersion(lines.first.flatMap { try? decoder.decode(Version.self, from: Data($0)).version })
    do {
      origin = try decoder.decode(Origin.self, from: Data(lines[0]))
      progress = try decoder.decode(Progress.self, from: Data(lines[lines.count - 1]))
    } catch {
      throw Unreadable(reason: "it lacks something")
    }
  }

  /// The version first: the other keys of another form mean something else.
  private static func requireVersion(_ version: Int?) throws(Unreadable) {
    guard let version else { throw Unreadable(reason: "it is not JSON with a version") }
    guard version != currentVersion else { return }
    throw Unreadable(reason: "it is of version \(version), and this build knows \(currentVersion)")
  }

  private static let newline = UInt8(ascii: "\n")

  /// What is appended to the journal for this step.
  ///
  /// - Parameter isWhole: whether with what never changes, which an earlier record may say.
  func journalRecord(isWhole: Bool) -> [UInt8] {
    var json = JSONWriter()
    json.beginRecord()
    json.object { json in
      json.field(RecordKeys.session, origin.metadata.sessionID)
      if isWhole { json.field(RecordKeys.origin, origin) }
      json.field(RecordKeys.progress, progress)
    }
    json.endLine()
    return json.bytes()
  }

  private enum RecordKeys: String, CodingKey { case session, origin, progress }
}

extension Facts.Origin: JSONObject {
  private enum CodingKeys: String, CodingKey {
    case version, profile, record, metadata
    case containerName = "container_name"
    case bootID = "boot_id"
    case acceptedNanoseconds = "accepted_ns"
    case timeoutNanoseconds = "timeout_ns"
  }

  func writeFields(to json: inout JSONWriter) {
    json.field(CodingKeys.version, version)
    json.field(CodingKeys.profile, profile)
    json.field(CodingKeys.containerName, containerName)
    json.field(CodingKeys.record, record)
    json.field(CodingKeys.bootID, bootID)
    json.field(CodingKeys.acceptedNanoseconds, acceptedNanoseconds)
    json.field(CodingKeys.timeoutNanoseconds, timeoutNanoseconds)
    json.field(CodingKeys.metadata, metadata)
  }
}

extension Facts.Progress: JSONObject {
  private enum CodingKeys: String, CodingKey {
    case step, ending, metadata
    case deadlineNanoseconds = "deadline_ns"
    case requestedEnd = "requested_end"
    case isPartlyReleased = "is_partly_released"
  }

  func writeFields(to json: inout JSONWriter) {
    json.field(CodingKeys.step, step)
    json.field(CodingKeys.deadlineNanoseconds, deadlineNanoseconds)
    json.field(CodingKeys.requestedEnd, requestedEnd)
    json.field(CodingKeys.isPartlyReleased, isPartlyReleased)
    json.field(CodingKeys.ending, ending)
    json.field(CodingKeys.metadata, metadata)
  }
}

extension Facts {
  /// Whether the session was accepted before another one.
  ///
  /// The monotonic clock tells, whatever is done to the other one; but not of runs of the machine before this one. Those
  /// come first, by the wall clock.
  func precedes(_ other: Facts) -> Bool { order < other.order }

  private var order: (UInt64, Timestamp, String) {
    // Since its boot, so never 0 in a run of the machine that lives.
    let moment = origin.bootID == Boot.id ? max(origin.acceptedNanoseconds, 1) : 0
    return (moment, metadata.startTimestamp, metadata.sessionID)
  }
}

extension Facts {
  /// Why facts cannot be read, as a clause.
  struct Unreadable: Error, Equatable {
    let reason: String
  }
}

extension Facts.Environment {
  init(_ profile: Profile) {
    name = profile.name
    baseImage = profile.baseImage
    methodologyDirectory = profile.methodologyDirectory
    command = profile.command
    mounts = profile.mounts.map { .init(source: $0.source, target: $0.target, isReadOnly: $0.readOnly) }
    credentials = profile.credentials.map { .init(name: $0.name, source: $0.source) }
    repositoryTokenSource = profile.repositoryTokenSource
    repositoryCache = profile.repositoryCache
  }

  /// The profile, less what is of no matter once a session of it was accepted.
  var profile: Profile {
    Profile(
      name: name, baseImage: baseImage, methodologyDirectory: methodologyDirectory, command: command,
      repositoryTokenSource: repositoryTokenSource, repositoryCache: repositoryCache ?? true,
      mounts: mounts.map { Profiles.Mount(source: $0.source, target: $0.target, readOnly: $0.isReadOnly) },
      credentials: credentials.map { Profiles.Credential(name: $0.name, source: $0.source) })
  }

}

extension Facts.Environment: JSONObject {
  private enum CodingKeys: String, CodingKey {
    case name, command, mounts, credentials
    case baseImage = "base_image"
    case methodologyDirectory = "methodology_dir"
    case repositoryTokenSource = "repo_token_source"
    case repositoryCache = "repo_cache"
  }

  func writeFields(to json: inout JSONWriter) {
    json.field(CodingKeys.name, name)
    json.field(CodingKeys.baseImage, baseImage)
    json.field(CodingKeys.methodologyDirectory, methodologyDirectory)
    json.field(CodingKeys.command, command)
    json.field(CodingKeys.mounts, mounts)
    json.field(CodingKeys.credentials, credentials)
    json.field(CodingKeys.repositoryTokenSource, repositoryTokenSource)
    json.field(CodingKeys.repositoryCache, repositoryCache)
  }
}

extension Facts.Environment.Mount: JSONObject {
  private enum CodingKeys: String, CodingKey {
    case source, target
    case isReadOnly = "read_only"
  }

  func writeFields(to json: inout JSONWriter) {
    json.field(CodingKeys.source, source)
    json.field(CodingKeys.target, target)
    json.field(CodingKeys.isReadOnly, isReadOnly)
  }
}

extension Facts.Environment.Credential: JSONObject {
  func writeFields(to json: inout JSONWriter) {
    json.field(CodingKeys.name, name)
    json.field(CodingKeys.source, source)
  }
}
