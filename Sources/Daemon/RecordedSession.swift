// What the audit root says of a session: for a daemon that does not have it, and for a client without a daemon.

public import Audit
public import Control
internal import Glibc
public import Profiles
internal import Reactor
internal import Sessions
internal import Time

/// A session as its record tells of it.
public enum RecordedSession: Sendable, Equatable {
  /// It has ended, and its record is complete.
  case ended(FinishedSession, Record)
  /// Its record is incomplete: it lives, or ended while nobody watched, or could not be torn down.
  case incomplete(Record)
  /// There is no record of it.
  case unknown

  /// Looks for the record of a session and reads it. Waits for the disk: on the daemon, call it on the worker.
  ///
  /// - Parameters:
  ///   - id: what somebody says is a session's id.
  ///   - configuration: where the records are.
  /// - Throws: `AuditError` when the record, or what may hold it, cannot be read.
  public static func find(_ id: String, in configuration: Configuration) throws(AuditError) -> RecordedSession
  {
    // Nothing else names a directory that agentd made, and nothing else is to be looked for.
    guard let id = SessionID(id)?.description else { return .unknown }
    let record = try Record.find(
      session: id, auditRoot: configuration.daemon.auditRoot, profiles: configuration.profiles.map(\.name))
    return try record.map { (record) throws(AuditError) in try read(record) } ?? .unknown
  }

  /// Reads a record. Waits for the disk.
  public static func read(_ record: Record) throws(AuditError) -> RecordedSession {
    let metadata: Metadata
    do {
      metadata = try record.readMetadata()
    } catch .system(_, _, ENOENT) {
      return .incomplete(record)
    }
    return FinishedSession(metadata, record).map { .ended($0, record) } ?? .incomplete(record)
  }

  /// Says that nothing is known of a session.
  public static func unknownSentence(_ id: String) -> String {
    let name = id.unicodeScalars.prefix(32).map { $0.properties.generalCategory == .control ? "?" : "\($0)" }
    return "No session '\(name.joined())' is known: an id is 16 hex digits, as `agentd ps` prints it."
  }
}

extension FinishedSession {
  /// A session's end by its record; nil while there is no outcome.
  init?(_ metadata: Metadata, _ record: Record) {
    guard let label = metadata.outcome else { return nil }
    self.init(
      id: metadata.sessionID, profile: metadata.profile, outcome: label,
      isSuccess: Outcome(label: label)?.isSuccess ?? false, exitCode: metadata.exitCode,
      signal: metadata.signal,
      durationMilliseconds: metadata.duration.wholeMilliseconds, record: record.path,
      reason: metadata.error, problems: [])
  }
}
