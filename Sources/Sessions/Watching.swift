// One container from its release to its end: who ends it, with which signal, and how its end is to be read.

internal import Engine
internal import Glibc
internal import Reactor

/// Follows a container that is held, by what the kernel, the clock and the operator tell of it. No task waits: of ten
/// thousand sessions that live each would keep kilobytes.
@Loop
final class Watching {
  /// How long a command has to end by itself after SIGTERM.
  private static let stopGrace: Duration = .seconds(10)
  /// How long after SIGKILL the kernel may take to end a container before podman is left to remove it.
  static let killPatience: Duration = .seconds(30)

  /// How watching a container came to its end.
  enum End {
    /// It had ended before it could be watched.
    case unwatched
    case exited
    case exitedAfterDeadline
    /// Its envelope could not be written, so it was killed.
    case notReleased
    /// Its conmon ended first, so it was killed, or could not write and ended of that.
    case unrecorded
    /// It is still there after SIGKILL.
    case refusesToEnd
  }

  /// What happens to a container that is watched. Each happens once.
  private enum Event {
    case exited
    case conmonEnded
    case notReleased
    case deadline
    case stop
    case graceOver
    case patienceOver
  }

  private let session: Session
  private let container: Process
  private let conmon: Process?
  private var onEnd: (@Loop (End) -> Void)?
  private var deadline: Timer?
  /// Of the grace after SIGTERM, then of the patience after SIGKILL.
  private var patience: Timer?
  /// Why it is being ended; nil while it is not.
  private var ending: Event?
  private var conmonWasFirst = false

  /// Watches a container, and releases it where that is still to be done.
  ///
  /// - Parameter onEnd: called once, when watching it is over.
  init(
    _ session: Session, _ container: Process, _ conmon: Process?, _ onEnd: @escaping @Loop (End) -> Void
  ) {
    self.session = session
    self.container = container
    self.conmon = conmon
    self.onEnd = onEnd
  }

  func begin() {
    container.onExit = { self.take(.exited) }
    // An ordinary end is the container's first, and conmon's after it.
    conmon?.onExit = { if !self.container.isEnding { self.take(.conmonEnded) } }
    session.onStop = { self.take(.stop) }
    session.host.reports.begin(of: session.id) { self.session.readReport() }
    // All of it may have happened before anybody listened.
    if container.hasEnded {
      take(.exited)
    } else if conmon?.hasEnded ?? true {
      take(.conmonEnded)
    }
    if session.stopRequested { take(.stop) }
    if onEnd != nil, let moment = session.facts.deadline {
      deadline = Timer(at: moment) { self.take(.deadline) }
    }
    // The last: what comes of it finds all the rest in place.
    if onEnd != nil, ending == nil { session.release { self.take(.notReleased) } }
  }

  private func take(_ event: Event) {
    // Over already: what comes late changes nothing.
    guard onEnd != nil else { return }
    switch event {
    case .exited: finish(how())
    case .conmonEnded:
      // One that has ended too is killed by nobody: it could not write any more, or it ended by itself just before.
      guard container.isAlive else {
        conmonWasFirst = true
        return
      }
      session.fail("supervise", "conmon ended before its container, which was killed")
      let isFirst = ending == nil
      end(.conmonEnded, with: SIGKILL)
      // Who had begun to end it anyway still wants its code.
      if isFirst { container.forgoStatus() } else { send(SIGKILL) }
    case .stop:
      session.note(.stop)
      end(.stop, with: SIGTERM)
    case .deadline:
      session.note(.deadline)
      end(.deadline, with: SIGTERM)
    case .notReleased: end(.notReleased, with: SIGKILL)
    case .graceOver:
      send(SIGKILL)
      patience = Timer(after: Self.killPatience) { self.take(.patienceOver) }
    case .patienceOver:
      session.fail("stop", "the container did not end after SIGKILL")
      finish(.refusesToEnd)
    }
  }

  private func how() -> End {
    switch ending {
    case .deadline: return .exitedAfterDeadline
    case .notReleased: return .notReleased
    case .conmonEnded: return .unrecorded
    case nil where conmonWasFirst:
      if case .signaled = conmon?.readStatus() { return .unrecorded }
      return .exited
    case .exited, .stop, .graceOver, .patienceOver, nil: return .exited
    }
  }

  private func end(_ reason: Event, with signal: Int32) {
    guard ending == nil else { return }
    ending = reason
    send(signal)
    patience = Timer(after: Self.stopGrace) { self.take(.graceOver) }
  }

  private func send(_ signal: Int32) {
    do throws(SystemError) {
      try container.signal(signal)
    } catch {
      session.fail("stop", "\(error)")
    }
  }

  private func finish(_ end: End) {
    guard let onEnd else { return }
    self.onEnd = nil
    session.onStop = nil
    deadline?.cancel()
    patience?.cancel()
    session.host.reports.end(of: session.id)
    session.envelope?.close()
    container.onExit = nil
    conmon?.onExit = nil
    onEnd(end)
  }
}
