// What a daemon finds of an earlier daemon's session, and what is to be done with it. Pure.

internal import Time

/// What is left of a session.
struct Findings: Sendable, Equatable {
  /// What podman and the kernel know of its container.
  enum Container: Sendable, Equatable {
    /// podman knows none.
    case absent
    /// It has ended. The time is podman's, and nil when nobody saw the end, as in a reboot.
    case dead(code: Int32, at: Timestamp?)
    /// It has ended, and podman has not written down how.
    case ending
    /// Its init runs and is held.
    case live
  }

  /// How far its facts say that it came; nil when they are lost.
  var step: Facts.Step?
  /// How its facts say that it ended; where they are lost, how its record does.
  var ending: Ending?
  /// Why an earlier daemon had begun to end it.
  var requestedEnd: Facts.RequestedEnd?
  /// Its container.
  var container: Container
  /// What its setup wrote; nil when that is lost. Read after `unreadEnvelope`.
  var report: SetupReport?
  /// How many bytes of its envelope wait in its FIFO; nil when that was not looked at or cannot be told.
  var unreadEnvelope: Int?
  /// Whether its facts say that a part of its envelope was still the daemon's.
  var wasCut = false
  /// Whether the machine was restarted since.
  var wasRestarted = false
  /// The profile's base image, for a sentence.
  var image: String
}

/// Which of its ends a session is brought to.
enum Decision: Sendable, Equatable {
  /// It is supervised, as if nothing had happened.
  case goesOn
  /// It has ended; how is asked once podman knows.
  case ends
  /// It has ended like this.
  case finished(Ending)
  /// It still waits for its turn.
  case queued
  /// It had not been released, or nobody knows how it ended. The reason is a sentence.
  case interrupted(reason: String)

  static let stopped = "The session was stopped while it was queued."
  static let notStarted =
    "The daemon ended before the session's container was started, so the command was not run."
  static let removed =
    "The session's container was removed while no daemon watched it, so how it ended is not known."
  static let restarted =
    "The machine was restarted while the session ran, so how it would have ended is not known."
  static let unknown =
    "The session's container ended while no daemon watched it, and podman does not know how."
  static let lost =
    "What the daemon knew of the session was lost from the runtime directory, so it could not be gone on with."

  init(_ findings: Findings) {
    switch findings.step {
    case .ended: self = findings.ending.map { .finished($0) } ?? .interrupted(reason: Self.unknown)
    case .queued: self = findings.requestedEnd == nil ? .queued : .interrupted(reason: Self.stopped)
    case .prepared:
      let isStarted = findings.container != .absent
      self = .interrupted(reason: isStarted ? Ending.unreleased : Self.notStarted)
    case .released: self = Self.afterRelease(findings)
    case nil: self = Self.withoutFacts(findings)
    }
  }

  private static func afterRelease(_ findings: Findings) -> Decision {
    if findings.report?.isUnreleased == true { return .interrupted(reason: Ending.unreleased) }
    switch findings.container {
    case .absent: return .interrupted(reason: findings.wasRestarted ? restarted : removed)
    case .dead(let code, .some): return ended(code, findings)
    case .dead(_, nil): return .interrupted(reason: findings.wasRestarted ? restarted : unknown)
    case .ending: return .ends
    case .live:
      // Until the setup has come to the command, the part of the envelope that is the command's waits in the pipe. With
      // nothing in it, nothing was written, or it went with the daemon, because the container had not opened it.
      let isReleased = findings.unreadEnvelope != 0 || findings.report?.phase != .preparing
      return isReleased ? .goesOn : .interrupted(reason: Ending.unreleased)
    }
  }

  private static func withoutFacts(_ findings: Findings) -> Decision {
    // Written down when the container had ended. What podman knows of it by now is no better.
    if let ending = findings.ending { return .finished(ending) }
    return switch findings.container {
    case .dead(let code, .some): ended(code, findings)
    case .dead(_, nil), .absent, .ending, .live: .interrupted(reason: lost)
    }
  }

  private static func ended(_ code: Int32, _ findings: Findings) -> Decision {
    guard (0...255).contains(code) else { return .interrupted(reason: unknown) }
    if findings.report?.isUnreleased == true { return .interrupted(reason: Ending.unreleased) }
    switch findings.requestedEnd {
    case .deadline: return .finished(.timedOut(code: code))
    case .stop, nil:
      let ending = Ending(
        code: code, report: findings.report, wasCut: findings.wasCut,
        wasStopped: findings.requestedEnd == .stop, image: findings.image)
      if case .failed(let reason) = ending { return .interrupted(reason: reason) }
      return .finished(ending)
    }
  }
}
