// Who waits for the end of which session.

internal import Audit
internal import Control
internal import Profiles
internal import Reactor
internal import Sessions

/// The clients that wait for sessions to end. A session does not know of them, and they keep nothing of it alive.
@Loop
final class Followers {
  /// How many answers may be owed when one more wants to follow. After a restart each session's own client does.
  let limit: Int

  private let configuration: Configuration
  private var waiting: [SessionID: [Connection]] = [:]
  private var count = 0

  init(_ configuration: Configuration) {
    self.configuration = configuration
    limit = 2 * (configuration.daemon.capacity.sessions + configuration.daemon.capacity.queue)
  }

  /// A client, already attached, waits for a session that lives.
  func add(_ connection: Connection, to session: SessionID) {
    waiting[session, default: []].append(connection)
    count += 1
  }

  /// Tells all that wait for a session how it ended, and returns when they have it or have gone. None waits for
  /// another's terminal.
  func tell(_ finished: FinishedSession, of session: SessionID) async {
    guard let connections = waiting.removeValue(forKey: session) else { return }
    count -= connections.count
    // Most sessions have one, which needs no task of its own.
    let others = connections.dropLast().map { connection in
      Loop.spawn { await Self.tell(finished, to: connection) }
    }
    if let last = connections.last { await Self.tell(finished, to: last) }
    for other in others { await other.value }
  }

  private static func tell(_ finished: FinishedSession, to connection: Connection) async {
    await connection.send(.finished(session: finished))
    connection.detach()
  }

  /// Answers a request to follow: a session that lives by `live`, its record, or one that has ended.
  func follow(
    _ id: String, from connection: Connection, on worker: Worker, live: @Loop (SessionID) -> AcceptedSession?
  ) async {
    // From now on, so that a crowd of others does not end the connection in the middle.
    connection.attach()
    if await attach(connection, to: id, live) { return }
    let recorded: Result<RecordedSession, AuditError> = await worker.run { [configuration] in
      Result { () throws(AuditError) in try RecordedSession.find(id, in: configuration) }
    }
    // It was not there a moment ago, but may have been about to begin.
    if case .success(.incomplete) = recorded, await attach(connection, to: id, live) { return }
    for reply in Self.replies(recorded, to: id) { await connection.send(reply) }
    connection.detach()
  }

  /// Lets a client wait for a session that lives, or refuses; false when there is none with this id.
  private func attach(
    _ connection: Connection, to text: String, _ live: @Loop (SessionID) -> AcceptedSession?
  ) async -> Bool {
    guard let id = SessionID(text), let session = live(id) else { return false }
    guard hasRoom() else {
      await connection.send(.busy(reason: "\(limit) clients follow sessions already: end one."))
      connection.detach()
      return true
    }
    add(connection, to: id)
    await connection.send(.accepted(session: session))
    return true
  }

  private func hasRoom() -> Bool {
    guard count >= limit else { return true }
    // Those that have gone make room.
    waiting = waiting.mapValues { $0.filter { !$0.isClosed } }.filter { !$0.value.isEmpty }
    count = waiting.values.reduce(0) { $0 + $1.count }
    return count < limit
  }

  /// The answers to who follows a session that does not live, by its record.
  private static func replies(
    _ recorded: Result<RecordedSession, AuditError>, to id: String
  ) -> [Reply] {
    switch recorded {
    case .success(.ended(let finished, let record)):
      [.accepted(session: AcceptedSession(id, record)), .finished(session: finished)]
    case .success(.incomplete(let record)):
      [
        .refused(
          reason:
            "The session \(id) does not live, and its record \(record.path) was never completed: the log of "
            + "the daemon that ran it says why.")
      ]
    case .success(.unknown): [.refused(reason: RecordedSession.unknownSentence(id))]
    case .failure(let error): [.refused(reason: "The record of session \(id) cannot be read. \(error)")]
    }
  }
}

extension AcceptedSession {
  init(_ id: String, _ record: Record) {
    self.init(id: id, record: record.path, consoleLog: record.consoleLogPath)
  }
}
