// What session.json says of a session together with what follows from it.

public import JSON
internal import Reactor
public import Time

extension Metadata {
  /// One object for both: what `agentd show --json` prints.
  public struct Summary: Sendable {
    let metadata: Metadata
    /// The record's directory.
    let record: String
    let durationMilliseconds: UInt64
    /// The time of each phase, by name.
    let phaseMilliseconds: [String: UInt64]

    /// - Parameters:
    ///   - duration: how long the session has taken.
    ///   - now: the end of a phase that still lasts; without it, such a phase is left out.
    public init(_ metadata: Metadata, record: String, duration: Duration, until now: Timestamp?) {
      self.metadata = metadata
      self.record = record
      durationMilliseconds = duration.wholeMilliseconds
      let times = metadata.phaseTimes(until: now).map { ($0.name, $0.time.wholeMilliseconds) }
      phaseMilliseconds = Dictionary(uniqueKeysWithValues: times)
    }

    enum Key: String, CodingKey {
      case record
      case durationMilliseconds = "duration_ms"
      case phaseMilliseconds = "phase_ms"
    }
  }
}

extension Metadata.Summary: JSONObject {
  /// Writes all of it.
  public func writeFields(to json: inout JSONWriter) {
    Metadata.write(metadata.origin, metadata.course, self, to: &json)
  }
}
