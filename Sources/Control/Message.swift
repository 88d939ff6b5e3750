// What daemon and client say to each other. Internal: both ends are the same build.

public import JSON

/// Which build of agentd this is, and which protocol it speaks.
public enum Build {
  /// The version of agentd, as `agentd --version` prints it.
  public static let version = "0.1.0"
  /// Raised with every change of a message.
  static let protocolVersion = 4
}

/// What a client asks for: one line each.
public enum Request: Sendable, Equatable {
  /// Start a session. The answers are `refused`, or `accepted` and, unless it is detached, later `finished`.
  case run(invocation: InvocationRequest)
  /// End a session: its id. The answer is `done` or `refused`.
  case stop(session: String)
  /// Wait for the end of a session, live or ended: its id. The answers are `refused`, or `accepted` and later
  /// `finished`, at once for a session that has ended.
  case follow(session: String)
  /// Which sessions live. The answer is `sessions`.
  case list
  /// What is known of a session that lives: its id. The answer is `described` or `refused`.
  case describe(session: String)
  /// Whether the daemon answers. The answer is `done`.
  case ping
}

/// A session somebody asks for, before anything of it has been validated.
public struct InvocationRequest: Sendable, Equatable {
  /// The profile's name.
  public var profile: String
  /// The repository that takes the place of the profile's.
  public var repository: String?
  /// The work unit.
  public var workUnit: String?
  /// How long the session may run once it is released, in milliseconds.
  public var timeoutMilliseconds: UInt64?
  /// Whether the client leaves as soon as it knows the session's id.
  public var detach: Bool
  /// The occurrence of the profile's schedule that it is for, in RFC 3339; nil when somebody asks by hand.
  public var scheduledFor: String?

  /// All fields.
  public init(
    profile: String, repository: String?, workUnit: String?, timeoutMilliseconds: UInt64?, detach: Bool,
    scheduledFor: String? = nil
  ) {
    self.profile = profile
    self.repository = repository
    self.workUnit = workUnit
    self.timeoutMilliseconds = timeoutMilliseconds
    self.detach = detach
    self.scheduledFor = scheduledFor
  }
}

/// What the daemon answers: one line each.
public enum Reply: Sendable, Equatable {
  /// The request was not carried out. One sentence says why and what to do.
  case refused(reason: String)
  /// Not now: there are too many clients. The request was not carried out, and may be on another connection. One
  /// sentence says why.
  case busy(reason: String)
  /// A session has begun, or is the one to be followed.
  case accepted(session: AcceptedSession)
  /// A session that this connection asked for or follows has ended.
  case finished(session: FinishedSession)
  /// The sessions that live.
  case sessions(sessions: [LiveSession])
  /// A session that lives.
  case described(session: DescribedSession)
  /// It was done, and there is nothing more to say.
  case done
}

/// A session that has begun, or that is followed.
public struct AcceptedSession: Sendable, Equatable {
  /// 16 hex digits.
  public var id: String
  /// The directory of its audit record.
  public var record: String
  /// The file that its output is written to, in podman's k8s-file format.
  public var consoleLog: String
  /// How many others wait before it; nil when it does not wait for its turn.
  public var queuedBehind: Int?

  /// All fields.
  public init(id: String, record: String, consoleLog: String, queuedBehind: Int? = nil) {
    self.id = id
    self.record = record
    self.consoleLog = consoleLog
    self.queuedBehind = queuedBehind
  }
}

/// How a session ended.
public struct FinishedSession: Sendable, Equatable {
  /// 16 hex digits.
  public var id: String
  /// The profile's name.
  public var profile: String
  /// The outcome's label.
  public var outcome: String
  /// Whether the outcome counts as success for `agentd run`.
  public var isSuccess: Bool
  /// The exit code of the command; nil when it never had one.
  public var exitCode: Int32?
  /// The signal that ended the command, when one did.
  public var signal: Int32?
  /// From acceptance to the sealed record, in milliseconds.
  public var durationMilliseconds: UInt64
  /// The directory of its audit record.
  public var record: String
  /// Why it failed, where its command or its setup could not say so. console.log ends with it.
  public var reason: String?
  /// Why its record is incomplete: sentences.
  public var problems: [String]

  /// All fields.
  public init(
    id: String, profile: String, outcome: String, isSuccess: Bool, exitCode: Int32?, signal: Int32?,
    durationMilliseconds: UInt64, record: String, reason: String?, problems: [String]
  ) {
    self.id = id
    self.profile = profile
    self.outcome = outcome
    self.isSuccess = isSuccess
    self.exitCode = exitCode
    self.signal = signal
    self.durationMilliseconds = durationMilliseconds
    self.record = record
    self.reason = reason
    self.problems = problems
  }
}

/// A session that lives.
public struct LiveSession: Sendable, Equatable {
  /// 16 hex digits.
  public var id: String
  /// The profile's name.
  public var profile: String
  /// What it is doing.
  public var phase: String
  /// Since it was accepted, in milliseconds.
  public var ageMilliseconds: UInt64
  /// The repository it works on.
  public var repository: String
  /// Whether the profile's schedule began it.
  public var isScheduled: Bool
  /// Which of those it is that wait for their turn, 1 for the next; nil when it does not wait.
  public var queuePosition: Int?

  /// All fields.
  public init(
    id: String, profile: String, phase: String, ageMilliseconds: UInt64, repository: String,
    isScheduled: Bool, queuePosition: Int? = nil
  ) {
    self.id = id
    self.profile = profile
    self.phase = phase
    self.ageMilliseconds = ageMilliseconds
    self.repository = repository
    self.isScheduled = isScheduled
    self.queuePosition = queuePosition
  }
}

/// What the daemon knows of a session that lives.
public struct DescribedSession: Sendable, Equatable {
  /// The directory of its audit record.
  public var record: String
  /// What the record's session.json would say if it were written now: its text.
  public var metadata: String

  /// All fields.
  public init(record: String, metadata: String) {
    self.record = record
    self.metadata = metadata
  }
}

// MARK: - On the wire

// Written in the order of their keys: one message has one line, whichever process wrote it.

/// The keys of what a case carries.
private enum CaseKey: CodingKey { case invocation, reason, session, sessions }

extension Request: JSONObject, JSONReadable {
  private enum CodingKeys: CodingKey, CaseIterable { case run, stop, follow, list, describe, ping }

  /// Writes the case and what it carries.
  public func writeFields(to json: inout JSONWriter) {
    switch self {
    case .run(let invocation): json.field(CodingKeys.run) { $0.field(CaseKey.invocation, invocation) }
    case .stop(let session): json.field(CodingKeys.stop) { $0.field(CaseKey.session, session) }
    case .follow(let session): json.field(CodingKeys.follow) { $0.field(CaseKey.session, session) }
    case .list: json.field(CodingKeys.list) { _ in }
    case .describe(let session): json.field(CodingKeys.describe) { $0.field(CaseKey.session, session) }
    case .ping: json.field(CodingKeys.ping) { _ in }
    }
  }

  /// Reads the case and what it carries.
  public init(from json: JSONValue) throws(JSONMismatch) {
    let (key, content) = try json.readCase(of: CodingKeys.self)
    switch key {
    case .run: self = .run(invocation: try content.read(CaseKey.invocation))
    case .stop: self = .stop(session: try content.read(CaseKey.session))
    case .follow: self = .follow(session: try content.read(CaseKey.session))
    case .list: self = .list
    case .describe: self = .describe(session: try content.read(CaseKey.session))
    case .ping: self = .ping
    }
  }
}

extension InvocationRequest: JSONObject, JSONReadable {
  private enum CodingKeys: CodingKey {
    case detach, profile, repository, scheduledFor, timeoutMilliseconds, workUnit
  }

  /// Writes all fields.
  public func writeFields(to json: inout JSONWriter) {
    json.field(CodingKeys.detach, detach)
    json.field(CodingKeys.profile, profile)
    json.field(CodingKeys.repository, repository)
    json.field(CodingKeys.scheduledFor, scheduledFor)
    json.field(CodingKeys.timeoutMilliseconds, timeoutMilliseconds)
    json.field(CodingKeys.workUnit, workUnit)
  }

  /// Reads all fields.
  public init(from json: JSONValue) throws(JSONMismatch) {
    detach = try json.read(CodingKeys.detach)
    profile = try json.read(CodingKeys.profile)
    repository = try json.readIfPresent(CodingKeys.repository)
    scheduledFor = try json.readIfPresent(CodingKeys.scheduledFor)
    timeoutMilliseconds = try json.readIfPresent(CodingKeys.timeoutMilliseconds)
    workUnit = try json.readIfPresent(CodingKeys.workUnit)
  }
}

extension Reply: JSONObject, JSONReadable {
  private enum CodingKeys: CodingKey, CaseIterable {
    case refused, busy, accepted, finished, sessions, described, done
  }

  /// Writes the case and what it carries.
  public func writeFields(to json: inout JSONWriter) {
    switch self {
    case .refused(let reason): json.field(CodingKeys.refused) { $0.field(CaseKey.reason, reason) }
    case .busy(let reason): json.field(CodingKeys.busy) { $0.field(CaseKey.reason, reason) }
    case .accepted(let session): json.field(CodingKeys.accepted) { $0.field(CaseKey.session, session) }
    case .finished(let session): json.field(CodingKeys.finished) { $0.field(CaseKey.session, session) }
    case .sessions(let sessions): json.field(CodingKeys.sessions) { $0.field(CaseKey.sessions, sessions) }
    case .described(let session): json.field(CodingKeys.described) { $0.field(CaseKey.session, session) }
    case .done: json.field(CodingKeys.done) { _ in }
    }
  }

  /// Reads the case and what it carries.
  public init(from json: JSONValue) throws(JSONMismatch) {
    let (key, content) = try json.readCase(of: CodingKeys.self)
    switch key {
    case .refused: self = .refused(reason: try content.read(CaseKey.reason))
    case .busy: self = .busy(reason: try content.read(CaseKey.reason))
    case .accepted: self = .accepted(session: try content.read(CaseKey.session))
    case .finished: self = .finished(session: try content.read(CaseKey.session))
    case .sessions: self = .sessions(sessions: try content.read(CaseKey.sessions))
    case .described: self = .described(session: try content.read(CaseKey.session))
    case .done: self = .done
    }
  }
}

extension AcceptedSession: JSONObject, JSONReadable {
  private enum CodingKeys: CodingKey { case consoleLog, id, queuedBehind, record }

  /// Writes all fields.
  public func writeFields(to json: inout JSONWriter) {
    json.field(CodingKeys.consoleLog, consoleLog)
    json.field(CodingKeys.id, id)
    json.field(CodingKeys.queuedBehind, queuedBehind)
    json.field(CodingKeys.record, record)
  }

  /// Reads all fields.
  public init(from json: JSONValue) throws(JSONMismatch) {
    consoleLog = try json.read(CodingKeys.consoleLog)
    id = try json.read(CodingKeys.id)
    queuedBehind = try json.readIfPresent(CodingKeys.queuedBehind)
    record = try json.read(CodingKeys.record)
  }
}

extension FinishedSession: JSONObject, JSONReadable {
  private enum CodingKeys: CodingKey {
    case durationMilliseconds, exitCode, id, isSuccess, outcome, problems, profile, reason, record, signal
  }

  /// Writes all fields.
  public func writeFields(to json: inout JSONWriter) {
    json.field(CodingKeys.durationMilliseconds, durationMilliseconds)
    json.field(CodingKeys.exitCode, exitCode)
    json.field(CodingKeys.id, id)
    json.field(CodingKeys.isSuccess, isSuccess)
    json.field(CodingKeys.outcome, outcome)
    json.field(CodingKeys.problems, problems)
    json.field(CodingKeys.profile, profile)
    json.field(CodingKeys.reason, reason)
    json.field(CodingKeys.record, record)
    json.field(CodingKeys.signal, signal)
  }

  /// Reads all fields.
  public init(from json: JSONValue) throws(JSONMismatch) {
    durationMilliseconds = try json.read(CodingKeys.durationMilliseconds)
    exitCode = try json.readIfPresent(CodingKeys.exitCode)
    id = try json.read(CodingKeys.id)
    isSuccess = try json.read(CodingKeys.isSuccess)
    outcome = try json.read(CodingKeys.outcome)
    problems = try json.read(CodingKeys.problems)
    profile = try json.read(CodingKeys.profile)
    reason = try json.readIfPresent(CodingKeys.reason)
    record = try json.read(CodingKeys.record)
    signal = try json.readIfPresent(CodingKeys.signal)
  }
}

extension LiveSession: JSONObject, JSONReadable {
  private enum CodingKeys: CodingKey {
    case ageMilliseconds, id, isScheduled, phase, profile, queuePosition, repository
  }

  /// Writes all fields.
  public func writeFields(to json: inout JSONWriter) {
    json.field(CodingKeys.ageMilliseconds, ageMilliseconds)
    json.field(CodingKeys.id, id)
    json.field(CodingKeys.isScheduled, isScheduled)
    json.field(CodingKeys.phase, phase)
    json.field(CodingKeys.profile, profile)
    json.field(CodingKeys.queuePosition, queuePosition)
    json.field(CodingKeys.repository, repository)
  }

  /// Reads all fields.
  public init(from json: JSONValue) throws(JSONMismatch) {
    ageMilliseconds = try json.read(CodingKeys.ageMilliseconds)
    id = try json.read(CodingKeys.id)
    isScheduled = try json.read(CodingKeys.isScheduled)
    phase = try json.read(CodingKeys.phase)
    profile = try json.read(CodingKeys.profile)
    queuePosition = try json.readIfPresent(CodingKeys.queuePosition)
    repository = try json.read(CodingKeys.repository)
  }
}

extension DescribedSession: JSONObject, JSONReadable {
  private enum CodingKeys: CodingKey { case metadata, record }

  /// Writes all fields.
  public func writeFields(to json: inout JSONWriter) {
    json.field(CodingKeys.metadata, metadata)
    json.field(CodingKeys.record, record)
  }

  /// Reads all fields.
  public init(from json: JSONValue) throws(JSONMismatch) {
    metadata = try json.read(CodingKeys.metadata)
    record = try json.read(CodingKeys.record)
  }
}
