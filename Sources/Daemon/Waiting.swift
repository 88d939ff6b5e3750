// How the daemon lets sessions wait for their turn: who starts when another has made room, and what becomes of those
// that still wait when the daemon ends.

internal import Control
internal import Profiles
internal import Reactor
internal import Sessions

extension Service {
  static let drained = "The daemon was stopped while the session was queued, so it was not run: run it again."

  /// A session that begins at once or waits, by the place that was kept for it.
  func welcome(_ session: Session, _ place: Admission<SessionID>.Place) {
    add(session)
    admission.enter(session.id, place)
    switch place {
    case .live: live(session)
    case .queue:
      session.tellQueued(behind: admission.ahead(of: session.id) ?? 0)
      // It was promised a place in the queue before the signal.
      if leaving == .draining { endQueue() } else { advance() }
    }
  }

  /// Takes over a session of an earlier daemon that still waited.
  func requeue(_ session: Session, _ intake: Intake) {
    add(session)
    admission.adopt(session.id, .queue)
    do throws(SessionRefusal) {
      // Looked at now, so that what is missing is told at once and not when its turn has come.
      _ = try intake.invocation(of: session)
    } catch {
      end(session, because: error.description)
    }
  }

  /// Starts those whose turn has come.
  func advance() {
    guard let intake, leaving == .no else { return }
    while let id = admission.next() {
      guard let session = sessions[id] else { preconditionFailure("who waits is a session of this daemon") }
      do throws(SessionRefusal) {
        session.takeTurn(try intake.invocation(of: session))
      } catch {
        session.stop(because: error.description)
      }
      live(session)
    }
  }

  /// Ends a session; one that waits for its turn at once.
  ///
  /// - Parameter reason: as `Session.stop` takes it.
  func end(_ session: Session, because reason: String? = nil) {
    session.stop(because: reason)
    if admission.withdraw(session.id) { live(session) }
  }

  /// Ends all that wait: a daemon that drains begins nothing.
  func endQueue() {
    // All at once: taken out one by one, each would have the rest of a long queue moved up.
    for id in admission.withdrawAll() {
      guard let session = sessions[id] else { preconditionFailure("who waits is a session of this daemon") }
      session.stop(because: Self.drained)
      live(session)
    }
  }

  /// A session as a client is told of it.
  func accepted(_ session: Session) -> AcceptedSession {
    var accepted = AcceptedSession(session.id.description, session.record)
    accepted.queuedBehind = admission.ahead(of: session.id)
    return accepted
  }

  /// All sessions, the oldest first.
  func list() -> [LiveSession] {
    let now = Loop.now
    let positions = Dictionary(uniqueKeysWithValues: zip(admission.queue, 1...))
    let sorted = sessions.values.sorted {
      ($0.accepted, $0.id.description) < ($1.accepted, $1.id.description)
    }
    return sorted.map {
      LiveSession(
        id: $0.id.description, profile: $0.profile, phase: $0.phase.rawValue,
        ageMilliseconds: (now - $0.accepted).wholeMilliseconds, repository: $0.repository,
        isScheduled: $0.isScheduled, queuePosition: positions[$0.id])
    }
  }
}
