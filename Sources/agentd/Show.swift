// agentd show: what is known of a session, and where its time went.

internal import ArgumentParser
internal import Audit
internal import Control
internal import Daemon
internal import FoundationEssentials
internal import Profiles
internal import Reactor
internal import Time

struct Show: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Say what is known of a session and where its time went.",
    discussion: """
      For a live session and for one that ended long ago. For the latter no daemon is needed, only its record.

      Each phase is a line: how long it took, and when, as a bar over the session's length. The bars are drawn with # \
      where stdout is no terminal or NO_COLOR is set.

      Exits with 0 whatever the outcome. Of a session that neither ended nor lives it prints what its record says and \
      exits with 1, or with 69 when no daemon could tell whether it lives. Also 1 when the session is not known.
      """)

  @OptionGroup var options: ConfigurationOptions

  @Argument(help: "The session's id, as `agentd ps` prints it.")
  var session: String

  @Flag(help: "Print what session.json says as one JSON object, with durations in milliseconds.")
  var json = false

  func run() throws {
    let configuration = try options.load()
    let (session, json) = (session, json)
    try Conversation.onLoop { () async throws(VerbFailure) in
      try await Self.show(session, in: configuration, json: json)
    }
  }

  @Loop private static func show(
    _ session: String, in configuration: Configuration, json: Bool
  ) async throws(VerbFailure) -> Int32 {
    if case .ended(_, let record) = try recordedSession(session, in: configuration) {
      try read(record).tell(json: json)
      return 0
    }
    do throws(VerbFailure) {
      try await askDaemon(of: configuration, for: session).tell(json: json)
      return 0
    } catch {
      switch try recordedSession(session, in: configuration) {
      case .ended(_, let record):
        // Between the two looks.
        try read(record).tell(json: json)
        return 0
      case .incomplete(let record):
        try read(record).tell(json: json)
        throw error
      case .unknown: throw error
      }
    }
  }

  @Loop private static func askDaemon(
    of configuration: Configuration, for session: String
  ) async throws(VerbFailure) -> ShownSession {
    try await Conversation.withClient(of: configuration.daemon.socketPath) { client throws(VerbFailure) in
      let reply = try await client.ask(.describe(session: session))
      guard case .described(let described) = reply else { throw unexpected(reply) }
      guard let metadata = try? JSONDecoder().decode(Metadata.self, from: Data(described.metadata.utf8))
      else { throw unexpected(reply) }
      return ShownSession(metadata, record: described.record, isLive: true)
    }
  }

  private static func read(_ record: Record) throws(VerbFailure) -> ShownSession {
    do throws(AuditError) {
      return ShownSession(try record.readMetadata(), record: record.path, isLive: false)
    } catch {
      throw VerbFailure(sentence: "The record cannot be read. \(error)", code: 1)
    }
  }
}

/// What there is to say of a session.
struct ShownSession {
  private let metadata: Metadata
  private let record: String
  /// Until when what lasts has lasted; nil when nobody knows.
  private let now: Timestamp?

  init(_ metadata: Metadata, record: String, isLive: Bool) {
    self.metadata = metadata
    self.record = record
    now = isLive ? Loop.wallClock : nil
  }

  @Loop func tell(json: Bool) {
    if json {
      print(printedJSON(Metadata.Summary(metadata, record: record, duration: duration, until: now)))
    } else {
      let lines =
        facts + [""]
        + PhaseChart(metadata, until: now, width: Terminal.width)
        .lines(isColoured: Terminal.isColoured)
      print(lines.joined(separator: "\n"))
    }
  }

  private var duration: Duration { max(.zero, now.map { $0 - metadata.startTimestamp } ?? metadata.duration) }

  private var facts: [String] {
    let rows: [(String, String?)] = [
      ("session", metadata.sessionID),
      ("profile", metadata.profile),
      ("repository", metadata.repoURL),
      ("commit", metadata.commit),
      ("work unit", metadata.workUnit),
      ("image", metadata.image + (metadata.imageDigest.map { " (\($0))" } ?? "")),
      ("scheduled", metadata.scheduledFor?.rfc3339),
      ("outcome", outcome),
      ("reason", metadata.error),
      ("start", metadata.startTimestamp.rfc3339),
      ("duration", Terminal.span(duration)),
      ("record", record),
    ]
    return rows.compactMap { name, value in
      value.map { name + String(repeating: " ", count: 12 - name.count) + Terminal.plain($0) }
    }
  }

  private var outcome: String {
    guard let outcome = metadata.outcome else { return now == nil ? "none" : "none yet" }
    if let signal = metadata.signal { return "\(outcome) (signal \(signal))" }
    return metadata.exitCode.map { "\(outcome) (exit code \($0))" } ?? outcome
  }
}
