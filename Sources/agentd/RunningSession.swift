// A session that this terminal follows: its output, Ctrl-C, its end, and a daemon that goes and comes back.

internal import Audit
internal import Control
internal import Daemon
internal import Glibc
internal import Profiles
internal import Reactor

/// Shows a session's output as its console.log grows, and waits for its end, whatever becomes of the daemon.
@Loop
final class RunningSession {
  private enum Event {
    case output
    case ended(Result<FinishedSession, FollowError>)
  }

  private let configuration: Configuration
  private let patience: Duration
  private let isShown: Bool
  // The output is posted once at a time, and the end once.
  private let events = Inbox<Event>(capacity: 2)
  private var session: String?
  private var record: Record?
  private var follower: SessionFollower?
  /// What was shown of it; nil when nothing is to be, or could be.
  private(set) var output: SessionOutput?
  private var outputIsPending = false
  private var daemonIsAway = false
  private var daemonIsOtherBuild = false
  /// Whether this terminal asked for the session.
  private var isOwn = false
  private var interrupts = 0

  /// - Parameters:
  ///   - configuration: where the daemon and the records are.
  ///   - patience: how long a daemon that has gone is looked for.
  ///   - isShown: whether the session's output is.
  init(_ configuration: Configuration, patience: Duration, isShown: Bool) {
    self.configuration = configuration
    self.patience = patience
    self.isShown = isShown
  }

  /// Asks for a session and returns how it ended. Ctrl-C stops it.
  func begin(_ request: InvocationRequest, over client: Client) async throws(VerbFailure) -> FinishedSession {
    let signals = try? Signals([SIGINT]) { _ in self.interrupted() }
    defer { signals?.close() }
    let accepted = try await client.begin(request)
    session = accepted.id
    isOwn = true
    record = Record(path: accepted.record)
    accepted.tellWhereQueued()
    if isShown { show(accepted.consoleLog) }
    return try await follow(accepted.id, over: client, patience: patience)
  }

  /// Returns how a session that was begun by somebody ends, or has ended.
  func join(_ id: String) async throws(VerbFailure) -> FinishedSession {
    session = id
    switch try recordedSession(id, in: configuration) {
    case .ended(let finished, let record):
      if isShown { show(record.consoleLogPath) }
      await output?.showRest()
      output?.close()
      try output?.requireTaken()
      return finished
    case .incomplete(let record):
      self.record = record
      if isShown { show(record.consoleLogPath) }
      return try await follow(id, over: nil, patience: patience)
    case .unknown:
      // Maybe the daemon has another audit root. Nothing shows that it is worth waiting for.
      return try await follow(id, over: nil, patience: .zero)
    }
  }

  private func follow(
    _ id: String, over client: Client?, patience: Duration
  ) async throws(VerbFailure) -> FinishedSession {
    let follower = SessionFollower(
      to: id, at: configuration.daemon.socketPath, over: client, patience: patience,
      recordedEnd: { self.recordedEnd() }, onNotice: { self.notice($0) })
    self.follower = follower
    defer {
      follower.close()
      output?.close()
    }
    if interrupts > 0 { follower.stop() }
    Loop.spawn { [events] in
      do throws(FollowError) {
        events.post(.ended(.success(try await follower.end())))
      } catch {
        events.post(.ended(.failure(error)))
      }
    }
    while true {
      switch await events.next() {
      case .output:
        outputIsPending = false
        // One piece at a time: a command that never pauses must not keep the end waiting.
        if await output?.showPiece() == true { outputArrived() }
        // Who only looks on leaves when nobody looks.
        if !isOwn { try output?.requireTaken() }
        await Loop.yield()
      case .ended(let result):
        await output?.showRest()
        if !isOwn { try output?.requireTaken() }
        return try conclude(result)
      }
    }
  }

  private func conclude(_ result: Result<FinishedSession, FollowError>) throws(VerbFailure)
    -> FinishedSession
  {
    do throws(FollowError) {
      return try result.get()
    } catch {
      output?.endLine()
      let id = session ?? ""
      switch error {
      case .refused(let sentence): throw .refused(sentence)
      case .gaveUp(let sentence) where record == nil:
        throw VerbFailure(
          sentence:
            "\(sentence) Nor is there a record of session \(id) in \(configuration.daemon.auditRoot).",
          code: VerbFailure.unavailable)
      case .gaveUp(let sentence):
        throw VerbFailure(
          sentence: "\(sentence) Session \(id) may go on without one: `agentd wait \(id)` tells how it ends.",
          code: VerbFailure.unavailable)
      case .failed(let sentence):
        throw VerbFailure(
          sentence: "\(sentence) `agentd wait \(id)` tells how the session ends.", code: 1)
      }
    }
  }

  // MARK: What happens meanwhile

  private func recordedEnd() -> FinishedSession? {
    guard let record, case .ended(let finished, _) = try? RecordedSession.read(record) else { return nil }
    return finished
  }

  private func notice(_ notice: SessionFollower.Notice) {
    switch notice {
    case .daemonGone:
      daemonIsAway = true
      // Without patience the sentence at the end says it all.
      guard patience > .zero, record != nil, let session else { return }
      say(
        "No daemon answers: waiting up to \(patience.written) for it. Session \(session) needs none to go on."
      )
    case .otherBuild:
      daemonIsOtherBuild = true
      say("The daemon is another build now. It has session \(session ?? ""), whose end the record will tell.")
    case .attached(let accepted):
      record = Record(path: accepted.record)
      if isShown, output == nil { show(accepted.consoleLog) }
      if daemonIsAway { say("The daemon is back, and knows session \(accepted.id).") }
      if daemonIsAway || !isOwn { accepted.tellWhereQueued() }
      daemonIsAway = false
      daemonIsOtherBuild = false
    }
  }

  private func say(_ sentence: String) {
    output?.endLine()
    Terminal.complain(sentence)
  }

  /// Acts by itself and at once, whatever `follow` is waiting for: an answer, or a terminal that takes no output.
  private func interrupted() {
    interrupts += 1
    guard interrupts == 1 else {
      Terminal.complain("Left the session \(session ?? "that was asked for") to the daemon: see `agentd ps`.")
      _exit(128 + SIGINT)
    }
    if daemonIsOtherBuild {
      Terminal.complain(
        "the daemon is another build: stop the session with its `agentd stop`; Ctrl-C again leaves it running"
      )
    } else if let follower, !follower.isConnected {
      Terminal.complain(
        "the session is stopped as soon as the daemon is back; Ctrl-C again leaves it running")
    } else {
      Terminal.complain("stopping the session; Ctrl-C again leaves it to the daemon")
    }
    follower?.stop()
  }

  private func show(_ path: String) {
    do throws(VerbFailure) {
      let output = try SessionOutput(path)
      self.output = output
      output.watch { self.outputArrived() }
      outputArrived()
    } catch {
      Terminal.complain(error.sentence)
    }
  }

  private func outputArrived() {
    guard !outputIsPending else { return }
    outputIsPending = true
    events.post(.output)
  }
}

extension AcceptedSession {
  /// Says on stderr that it waits for its turn, if it does.
  func tellWhereQueued() {
    switch queuedBehind {
    case nil: break
    case 0?: Terminal.complain("session \(id) is queued, and the next to start")
    case let count?:
      Terminal.complain("session \(id) is queued behind \(count) \(count == 1 ? "other" : "others")")
    }
  }
}

/// What the audit root says of a session, or the sentence for when it may not be read.
func recordedSession(_ id: String, in configuration: Configuration) throws(VerbFailure) -> RecordedSession {
  do throws(AuditError) {
    return try RecordedSession.find(id, in: configuration)
  } catch {
    if case .system(_, let path, EACCES) = error {
      throw VerbFailure(
        sentence:
          "The record of session \(id) is for the daemon's user and root only (\(path) may not be read): "
          + "ask as one of them.", code: 1)
    }
    throw VerbFailure(sentence: "The record of session \(id) cannot be read. \(error)", code: 1)
  }
}
