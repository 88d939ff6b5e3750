// A client that waits for its session while daemons come and go.

import Glibc
import Reactor
import TestSupport
import Testing

@testable import Control

@Suite("SessionFollower")
struct SessionFollowerTests {
  private let session = "0123456789abcdef"

  init() { LoopThread.start() }

  @Test(
    "a daemon that goes is told of, the next one is asked to follow the session, and its answer is the end")
  @Loop func restart() async throws {
    let daemon = try StandIn()
    defer { daemon.remove() }
    let client = try await Client.connect(to: daemon.path)
    let waiting = Waiting(session, daemon, over: client)
    daemon.stop()
    await waiting.gone.wait()
    #expect(!waiting.follower.isConnected)
    try daemon.start { connection, _ in
      await connection.send(.accepted(session: accepted))
      await connection.send(.finished(session: finished))
    }
    #expect(try await waiting.end() == finished)
    #expect(waiting.notices == [.daemonGone, .attached(accepted)])
    #expect(daemon.requests == [.follow(session: session)])
  }

  @Test("any number of daemons may go")
  @Loop func manyRestarts() async throws {
    let daemon = try StandIn()
    defer { daemon.remove() }
    let waiting = Waiting(session, daemon)
    for number in 1...3 {
      try daemon.restart { connection, _ in await connection.send(.accepted(session: accepted)) }
      await waiting.attached(times: number)
    }
    try daemon.restart { connection, _ in
      await connection.send(.accepted(session: accepted))
      await connection.send(.finished(session: finished))
    }
    #expect(try await waiting.end() == finished)
    #expect(daemon.requests == Array(repeating: .follow(session: session), count: 4))
  }

  @Test("a stop that was asked for while no daemon answered is sent to the next, and to each one after it")
  @Loop func stopWhileAway() async throws {
    let daemon = try StandIn()
    defer { daemon.remove() }
    daemon.stop()
    let waiting = Waiting(session, daemon)
    await waiting.gone.wait()
    waiting.follower.stop()
    try daemon.restart { connection, request in
      // Goes before it has said anything of the stop.
      guard case .stop = request else { return await connection.send(.accepted(session: accepted)) }
      connection.close()
    }
    await daemon.stopped(times: 1)
    #expect(daemon.requests.prefix(2) == [.follow(session: session), .stop(session: session)])
    daemon.stop()
    let earlier = daemon.requests.count
    try daemon.start { connection, request in
      guard case .stop = request else { return await connection.send(.accepted(session: accepted)) }
      await connection.send(.refused(reason: "too late"))
      await connection.send(.finished(session: finished))
    }
    #expect(try await waiting.end() == finished)
    #expect(daemon.requests.dropFirst(earlier) == [.follow(session: session), .stop(session: session)])
  }

  @Test("a connection that breaks is not replaced where no daemon is to be waited for")
  @Loop func noPatience() async throws {
    let daemon = try StandIn { connection, _ in await connection.send(.done) }
    defer { daemon.remove() }
    let client = try await Client.connect(to: daemon.path)
    // Answered, so it has been accepted.
    try await client.send(.list)
    #expect(try await client.next() == .done)
    let waiting = Waiting(session, daemon, over: client, patience: .zero)
    try daemon.restart { _, _ in Issue.record("the next daemon was asked") }
    #expect(await waiting.failure()?.hasPrefix("gave up: The daemon ended the connection") == true)
  }

  @Test("without a daemon it gives up, at once where it is to wait for none")
  @Loop func givesUp() async throws {
    let daemon = try StandIn()
    defer { daemon.remove() }
    daemon.stop()
    for (patience, least) in [(Duration.zero, 1), (.milliseconds(500), 2)] {
      let waiting = Waiting(session, daemon, patience: patience)
      let error = await waiting.failure()
      #expect(error == "gave up: \(ClientError.noDaemon(path: daemon.path))")
      #expect(waiting.looks >= least)
      #expect(waiting.notices == [.daemonGone])
    }
  }

  @Test("a record that says how the session ended is an end without a daemon")
  @Loop func recorded() async throws {
    let daemon = try StandIn()
    defer { daemon.remove() }
    daemon.stop()
    let waiting = Waiting(session, daemon, recordedAfter: 2)
    #expect(try await waiting.end() == finished)
    #expect(waiting.notices == [.daemonGone])
  }

  @Test("a daemon that does not know the session ends the wait with its sentence")
  @Loop func refused() async throws {
    let daemon = try StandIn { connection, _ in await connection.send(.refused(reason: "Never heard.")) }
    defer { daemon.remove() }
    #expect(await Waiting(session, daemon).failure() == "refused: Never heard.")
    #expect(daemon.requests.count == 1)
  }

  @Test("a daemon that has too many clients, or ends the connection, is asked again")
  @Loop func askedAgain() async throws {
    var answers = 0
    let daemon = try StandIn { connection, _ in
      answers += 1
      switch answers {
      case 1: await connection.send(.busy(reason: "Not now."))
      case 2: connection.close()
      default:
        await connection.send(.accepted(session: accepted))
        await connection.send(.finished(session: finished))
      }
    }
    defer { daemon.remove() }
    #expect(try await Waiting(session, daemon).end() == finished)
    #expect(daemon.requests.count == 3)
  }

  @Test("a daemon of another build is not asked again by who never had one of its own")
  @Loop func otherBuild() async throws {
    let daemon = try StandIn()
    defer { daemon.remove() }
    daemon.stop()
    let other = try OtherBuild(daemon.path)
    defer { other.close() }
    let failure = await Waiting(session, daemon).failure()
    #expect(failure?.hasPrefix("failed: The daemon is another build of agentd (9.9, protocol 1;") == true)
    #expect(other.connections == 1)
  }

  @Test("after an upgrade, whose daemon does not understand the client, the record tells of the end")
  @Loop func upgrade() async throws {
    let daemon = try StandIn()
    defer { daemon.remove() }
    let client = try await Client.connect(to: daemon.path)
    // No patience is spent on a daemon that is there.
    let waiting = Waiting(session, daemon, over: client, patience: .seconds(1), recordedAfter: 6)
    daemon.stop()
    let other = try OtherBuild(daemon.path)
    defer { other.close() }
    #expect(try await waiting.end() == finished)
    #expect(waiting.notices == [.daemonGone, .otherBuild])
  }

  @Test("a session that is let go while no daemon answers is looked for no more")
  @Loop func closed() async throws {
    let daemon = try StandIn()
    defer { daemon.remove() }
    daemon.stop()
    let waiting = Waiting(session, daemon)
    await waiting.gone.wait()
    waiting.follower.close()
    #expect(await waiting.failure()?.hasPrefix("failed: ") == true)
  }
}

private let accepted = AcceptedSession(id: "0123456789abcdef", record: "/r", consoleLog: "/r/c")
private let finished = FinishedSession(
  id: "0123456789abcdef", profile: "p", outcome: "success", isSuccess: true, exitCode: 0, signal: nil,
  durationMilliseconds: 1, record: "/r", reason: nil, problems: [])

/// A daemon as far as a client sees it: one after the other on the same path.
@Loop
private final class StandIn {
  let scratch = Scratch()
  private(set) var requests: [Request] = []
  private var server: Server?
  private var waiting: [Latch] = []
  var path: String { "\(scratch.path)/agentd.sock" }

  init(_ answer: @escaping @Loop (Connection, Request) async -> Void = { _, _ in }) throws {
    try start(answer)
  }

  func start(_ answer: @escaping @Loop (Connection, Request) async -> Void) throws {
    // As patient as a daemon is with who follows a session, however long another test keeps this loop.
    server = try Server(path: path, owner: geteuid(), patience: .seconds(3600), onRefusal: { _ in }) {
      [weak self] connection, request in
      self?.heard(request)
      await answer(connection, request)
    }
  }

  func stop() {
    server?.close()
    server = nil
    unlink(path)
  }

  func restart(_ answer: @escaping @Loop (Connection, Request) async -> Void) throws {
    stop()
    try start(answer)
  }

  /// Returns when so many stops have been asked for.
  func stopped(times: Int) async {
    while requests.filter({ if case .stop = $0 { true } else { false } }).count < times {
      let changed = Latch()
      waiting.append(changed)
      await changed.wait()
    }
  }

  func remove() {
    stop()
    scratch.remove()
  }

  private func heard(_ request: Request) {
    requests.append(request)
    for latch in waiting { latch.open() }
    waiting = []
  }
}

/// A daemon that speaks another build's language.
@Loop
private final class OtherBuild {
  private(set) var connections = 0
  private var peers: [Stream] = []
  private var listener: Listener?
  private let path: String

  init(_ path: String) throws {
    self.path = path
    listener = try Listener(path: path, onExhaustion: { _ in }) { [weak self] descriptor, _ in
      guard let self, let stream = try? Stream(descriptor) else { return }
      connections += 1
      peers.append(stream)
      Loop.spawn { try? await stream.write(Array("{\"protocol\":1,\"build\":\"9.9\"}\n".utf8)) }
    }
  }

  func close() {
    listener?.close()
    unlink(path)
    for peer in peers { peer.close() }
  }
}

/// Somebody who waits for the session's end, and what they are told.
@Loop
private final class Waiting {
  let gone = Latch()
  private(set) var notices: [SessionFollower.Notice] = []
  /// How often the record was looked at.
  private(set) var looks = 0
  private(set) lazy var follower: SessionFollower = makeFollower()
  private var task: Task<Result<FinishedSession, FollowError>, Never>?
  private let makeFollower: @Loop () -> SessionFollower
  private var changed: [Latch] = []

  init(
    _ session: String, _ daemon: StandIn, over client: Client? = nil, patience: Duration = RawClient.patience,
    recordedAfter: Int? = nil
  ) {
    let box = Box()
    makeFollower = {
      SessionFollower(
        to: session, at: daemon.path, over: client, patience: patience,
        recordedEnd: {
          box.waiting?.looks += 1
          return box.waiting.flatMap { waiting in recordedAfter.map { waiting.looks > $0 } } == true
            ? finished : nil
        }, onNotice: { box.waiting?.heard($0) })
    }
    box.waiting = self
    let follower = follower
    task = Loop.spawn {
      do throws(FollowError) {
        return .success(try await follower.end())
      } catch {
        return .failure(error)
      }
    }
  }

  func end() async throws -> FinishedSession? { try await task?.value.get() }

  /// How it failed, and with which sentence.
  func failure() async -> String? {
    switch await task?.value {
    case .failure(.refused(let sentence)): "refused: \(sentence)"
    case .failure(.gaveUp(let sentence)): "gave up: \(sentence)"
    case .failure(.failed(let sentence)): "failed: \(sentence)"
    case .success, nil: nil
    }
  }

  /// Returns when the session has been followed so many times.
  func attached(times: Int) async {
    while notices.filter({ if case .attached = $0 { true } else { false } }).count < times {
      let latch = Latch()
      changed.append(latch)
      await latch.wait()
    }
  }

  private func heard(_ notice: SessionFollower.Notice) {
    notices.append(notice)
    if notice == .daemonGone { gone.open() }
    for latch in changed { latch.open() }
    changed = []
  }

  private final class Box {
    weak var waiting: Waiting?
  }
}
