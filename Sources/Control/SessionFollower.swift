// A client's hold on one session, which outlives connections and daemons.

public import Reactor

/// Why a client that waits for a session's end waits no longer.
public enum FollowError: Error, CustomStringConvertible {
  /// The daemon knows of no such session, or of none that could still end. Its sentence.
  case refused(String)
  /// No daemon answered for as long as the client was to wait. The sentence of the last attempt.
  case gaveUp(String)
  /// The socket may not be used, or is another build's: trying again is of no use. One sentence.
  case failed(String)

  /// One sentence.
  public var description: String {
    switch self {
    case .refused(let sentence), .gaveUp(let sentence), .failed(let sentence): sentence
    }
  }
}

/// Waits for the end of one session. When the daemon goes, it looks for the next one and follows the session there.
///
/// The end is told once and to one task. Nothing is asked twice but what may be: to follow, and to stop.
@Loop
public final class SessionFollower {
  /// What happens on the way to the end.
  public enum Notice: Equatable, Sendable {
    /// A daemon has the session: one that was just found, also for the first time.
    case attached(AcceptedSession)
    /// No daemon answers. It is looked for from now on.
    case daemonGone
    /// The next daemon is another build, as after an upgrade. It has the session, whose end its record will tell.
    case otherBuild
  }

  /// How long a client waits for a daemon to come back, unless the operator says otherwise.
  public nonisolated static let defaultPatience: Duration = .seconds(60)
  /// Between the first two attempts to reach a daemon; doubled each time, up to the longest.
  static let firstPause: Duration = .milliseconds(50)
  static let longestPause: Duration = .seconds(1)
  /// How long a daemon that has taken the connection may take to answer.
  static let answerPatience: Duration = .seconds(30)

  /// The session's id.
  public let session: String
  private let path: String
  private let patience: Duration
  private let recordedEnd: @Loop () -> FinishedSession?
  private let onNotice: @Loop (Notice) -> Void
  private var client: Client?
  /// Why the last connection ended, until another is looked for.
  private var loss: String?
  /// Whether a daemon has had the session on this side's account.
  private var wasAttached: Bool
  private var stopRequested = false
  private var isClosed = false

  /// - Parameters:
  ///   - session: its id.
  ///   - path: the daemon's socket.
  ///   - client: a connection on which the daemon will tell of the session's end already; nil to make one.
  ///   - patience: how long to look for a daemon, from each time that there is none.
  ///   - recordedEnd: the end by the session's record, where it says so: a daemon may finish a session and be gone
  ///     before anybody reaches it.
  ///   - onNotice: is told of what happens.
  public init(
    to session: String, at path: String, over client: Client? = nil, patience: Duration,
    recordedEnd: @escaping @Loop () -> FinishedSession?, onNotice: @escaping @Loop (Notice) -> Void
  ) {
    self.session = session
    self.path = path
    self.client = client
    wasAttached = client != nil
    self.patience = patience
    self.recordedEnd = recordedEnd
    self.onNotice = onNotice
  }

  /// Whether a daemon is connected, as far as this side knows.
  public var isConnected: Bool { client != nil }

  /// Returns when the session has ended. To be called once.
  public func end() async throws(FollowError) -> FinishedSession {
    while true {
      guard let client else {
        if let ended = try await find() { return ended }
        continue
      }
      if let finished = try await answer(of: client) { return finished }
    }
  }

  /// Asks the daemon to end the session; where there is none, the next one is asked. A daemon that died may have been
  /// about to kill the command, so each further one is asked again.
  public func stop() {
    stopRequested = true
    if let client { sendStop(on: client) }
  }

  /// Lets go of the session, which goes on. `end` then throws.
  public func close() {
    isClosed = true
    client?.close()
    client = nil
  }

  /// The daemon's next answer: the end, or nil for anything else, the end of the connection included.
  private func answer(of client: Client) async throws(FollowError) -> FinishedSession? {
    let reply: Reply
    do throws(ClientError) {
      reply = try await client.next()
    } catch {
      switch error {
      case .noDaemon, .broken: lose(client, error.description)
      case .otherBuild(let sentence), .failed(let sentence): throw .failed(sentence)
      }
      return nil
    }
    switch reply {
    case .finished(let finished): return finished
    case .busy(let reason): lose(client, reason)
    case .done: break
    case .refused(let reason):
      // A stop that came too late is refused; the end itself is on its way.
      guard stopRequested else { throw .refused(reason) }
    case .accepted, .sessions, .described: throw .failed(Self.strange(reply))
    }
    return nil
  }

  private func lose(_ client: Client, _ sentence: String) {
    client.close()
    self.client = nil
    loss = sentence
  }

  private func sendStop(on client: Client) {
    // A connection that broke is found by whoever waits for the answer.
    Loop.spawn { [session] in try? await client.send(.stop(session: session)) }
  }

  // MARK: Looking for a daemon

  /// How an attempt to follow the session came to nothing; each with its sentence.
  private enum Failure {
    case noDaemon(String)
    case otherBuild(String)
  }

  /// Returns with a connection on which the session is followed, or with the end that its record tells of.
  private func find() async throws(FollowError) -> FinishedSession? {
    var end = Loop.now + patience
    var pause = Self.firstPause
    var told: Notice?
    while !isClosed {
      if let ended = recordedEnd() { return ended }
      // A connection that broke counts as an attempt: a daemon that ends every one of them is asked now and then.
      let failure: Failure?
      if let loss { failure = .noDaemon(loss) } else { failure = try await attempt() }
      loss = nil
      switch failure {
      case nil: return nil
      case .noDaemon(let sentence):
        if told == nil { onNotice(.daemonGone) }
        told = told ?? .daemonGone
        guard Loop.now < end else { throw .gaveUp(sentence) }
      case .otherBuild(let sentence):
        guard wasAttached else { throw .failed(sentence) }
        if told != .otherBuild { onNotice(.otherBuild) }
        told = .otherBuild
        // There is a daemon: patience is for when there is none.
        end = Loop.now + patience
      }
      await Timer.sleep(told == .otherBuild ? pause : min(pause, end - Loop.now))
      pause = min(pause * 2, Self.longestPause)
    }
    throw .failed(Self.letGo)
  }

  /// Connects and follows; what failed when that may go better another time.
  private func attempt() async throws(FollowError) -> Failure? {
    let client: Client
    do throws(ClientError) {
      client = try await Client.connect(to: path)
    } catch {
      return try transient(error)
    }
    let reply: Reply
    do throws(ClientError) {
      reply = try await ask(client)
    } catch {
      client.close()
      return try transient(error)
    }
    guard case .accepted(let accepted) = reply, !isClosed else {
      client.close()
      return try transient(reply)
    }
    self.client = client
    wasAttached = true
    if stopRequested { sendStop(on: client) }
    onNotice(.attached(accepted))
    return nil
  }

  private func transient(_ error: ClientError) throws(FollowError) -> Failure {
    switch error {
    case .noDaemon, .broken: return .noDaemon(error.description)
    case .otherBuild(let sentence): return .otherBuild(sentence)
    case .failed(let sentence): throw .failed(sentence)
    }
  }

  private func transient(_ reply: Reply) throws(FollowError) -> Failure {
    switch reply {
    case .busy(let reason): return .noDaemon(reason)
    case .accepted: return .noDaemon(Self.letGo)
    case .refused(let reason): throw .refused(reason)
    case .finished, .sessions, .described, .done: throw .failed(Self.strange(reply))
    }
  }

  private func ask(_ client: Client) async throws(ClientError) -> Reply {
    let timer = Timer(after: Self.answerPatience) { client.close() }
    defer { timer.cancel() }
    try await client.send(.follow(session: session))
    return try await client.next()
  }

  private static let letGo = "The session was let go."

  private static func strange(_ reply: Reply) -> String {
    "The daemon answered something that was not asked (\(reply)): restart the daemon after replacing the binary."
  }
}
