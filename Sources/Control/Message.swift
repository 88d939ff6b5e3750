// What daemon and client say to each other. Internal: both ends are the same build.

internal import FoundationEssentials

/// Which build of agentd this is, and which protocol it speaks.
public enum Build {
  /// The version of agentd, as `agentd --version` prints it.
  public static let version = "0.1.0"
  /// Raised with every change of a message.
  static let protocolVersion = 4
}

/// What a client asks for: one line each.
public enum Request: Codable, Sendable, Equatable {
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
public struct InvocationRequest: Codable, Sendable, Equatable {
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
public enum Reply: Codable, Sendable, Equatable {
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
public struct AcceptedSession: Codable, Sendable, Equatable {
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
public struct FinishedSession: Codable, Sendable, Equatable {
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
public struct LiveSession: Codable, Sendable, Equatable {
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
public struct DescribedSession: Codable, Sendable, Equatable {
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

/// The frame around each message: who speaks, and which language.
struct Frame<Body: Codable>: Codable {
  let `protocol`: Int
  let build: String
  /// nil when it was read and this build does not know it.
  let body: Body?

  init(_ body: Body) {
    self.protocol = Build.protocolVersion
    self.build = Build.version
    self.body = body
  }

  /// Reads protocol and build, which every frame has, past and future, and the body where it is of this build: what
  /// another one says is not looked at.
  init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    self.protocol = try container.decode(Int.self, forKey: .protocol)
    self.build = try container.decode(String.self, forKey: .build)
    let isOwn = Self.isOwn(self.protocol, build)
    body = isOwn ? try? container.decode(Body.self, forKey: .body) : nil
  }

  /// Whether this build has written it.
  var isOwn: Bool { Self.isOwn(self.protocol, build) }

  private static func isOwn(_ number: Int, _ build: String) -> Bool {
    number == Build.protocolVersion && build == Build.version
  }
}

/// A line that is no message of this build. One sentence for the other side.
struct FrameError: Error {
  let sentence: String
  /// Whether the other side speaks, but another build's language.
  var isOtherBuild = false
}

/// What a frame can hold.
protocol Message: Codable, Sendable, Equatable {
  /// Messages without content, each with its line. The coder has made the line once; from then on such a message is
  /// told by its bytes, which takes a fraction of the time.
  static var constants: [(message: Self, line: [UInt8])] { get }
}

extension Request: Message {
  static let constants = codedLines([Request.ping, .list])
  /// The line that asks it, newline included: for a client that reads and writes by itself.
  public var line: [UInt8] { encodeLine(self) }
}

extension Reply: Message {
  static let constants = codedLines([Reply.done])
}

private func codedLines<Body: Message>(_ messages: [Body]) -> [(message: Body, line: [UInt8])] {
  messages.map { ($0, codedLine($0)) }
}

/// Encodes a message as one line, its newline included.
func encodeLine<Body: Message>(_ body: Body) -> [UInt8] {
  Body.constants.first { $0.message == body }?.line ?? codedLine(body)
}

private func codedLine<Body: Message>(_ body: Body) -> [UInt8] {
  let encoder = JSONEncoder()
  // One message has one line, whichever process wrote it.
  encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
  // The messages are plain values of strings and numbers: there is nothing in them that JSON cannot hold.
  guard let data = try? encoder.encode(Frame(body)) else {
    preconditionFailure("a message cannot be encoded")
  }
  return Array(data) + [UInt8(ascii: "\n")]
}

/// Decodes one line, without its newline.
func decodeLine<Body: Message>(_ line: [UInt8], as type: Body.Type, from peer: String) throws(FrameError)
  -> Body
{
  // The same bytes decode to the same message: what follows would only find that out more slowly.
  for (message, known) in Body.constants where known.count == line.count + 1 && known.starts(with: line) {
    return message
  }
  guard let frame = try? JSONDecoder().decode(Frame<Body>.self, from: Data(line)) else {
    throw FrameError(sentence: "The \(peer) sent something that is not a message of agentd.")
  }
  guard frame.isOwn else {
    // Cut by scalars: one character of Swift's may hold any number of them.
    let build = frame.build.unicodeScalars.prefix(40)
    let name = build.allSatisfy({ (" "..."~").contains($0) }) ? String(build) : "?"
    throw FrameError(
      sentence: "The \(peer) is another build of agentd (\(name), protocol \(frame.protocol); this one is "
        + "\(Build.version), protocol \(Build.protocolVersion)): restart the daemon after replacing the binary.",
      isOtherBuild: true)
  }
  guard let body = frame.body else {
    throw FrameError(sentence: "The \(peer) sent a message that this build of agentd does not know.")
  }
  return body
}
