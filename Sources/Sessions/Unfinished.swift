// A record that an earlier daemon has left open, and what it tells where nothing else does.

internal import Audit
internal import Engine
internal import Reactor
internal import Time

/// An open record of this daemon, whose session's facts are lost or do not say how it ended.
struct Unfinished: Sendable {
  let record: Record
  /// What is known of the session.
  let metadata: Metadata
  /// How it ended, where its record was as good as complete.
  let ending: Ending?

  /// The outcome may have come to the disk and not to its place, or there without the mode that tells it.
  init(_ record: Record, _ metadata: Metadata) {
    self.record = record
    for final in [record.stagedMetadata, metadata] {
      guard let final, final.sessionID == metadata.sessionID, final.daemonID == metadata.daemonID,
        let ending = Ending(final)
      else { continue }
      self.metadata = final
      self.ending = ending
      return
    }
    self.metadata = metadata
    ending = nil
  }

  /// The metadata, less what is said again when the container is removed, and what is done again.
  var reopened: Metadata {
    var metadata = metadata
    let again = [SessionPhase.teardown.rawValue, SessionPhase.seal.rawValue]
    metadata.phases.removeAll { $0.endTimestamp == nil || again.contains($0.name) }
    (metadata.outcome, metadata.exitCode, metadata.signal, metadata.error) = (nil, nil, nil, nil)
    return metadata
  }

  /// The facts of its session, as far as the record tells them; nil where its names are none of ours.
  @Loop
  func facts(daemon: String) -> Facts? {
    // When it left the phase that its record was made in is not known, nor through which it came after that. When it was
    // over is, where its record says how it ended.
    let metadata = reopened
    guard
      let name = ContainerName(daemon: daemon, profile: metadata.profile, session: metadata.sessionID)
    else { return nil }
    let age = Loop.wallClock - metadata.startTimestamp
    let now = Loop.now.nanoseconds
    let accepted = Instant(nanoseconds: now - min(age.wholeNanoseconds, now))
    var facts = Facts(
      metadata, containerName: name.description, record: record.path, accepted: accepted)
    facts.ending = ending
    return facts
  }
}
