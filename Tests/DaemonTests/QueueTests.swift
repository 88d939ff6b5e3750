// Sessions beyond the limit: they wait in their order, can be stopped, and outlive their daemon. Each test is one or
// more processes of its own, as those of the service are.

import Audit
import Control
import Glibc
import Reactor
import TestSupport
import Testing

@testable import Daemon

@Suite("The queue")
struct QueueTests {
  @Test(
    "sessions beyond the limit start in the order in which they came, each when another has made room",
    .exitTest)
  func order() async {
    await #expect(processExitsWith: .success) {
      try prepareService(alone: true)
      try await startInOrder()
    }
  }

  @Test("a queued session that is stopped ends at once, with its reason, and without podman", .exitTest)
  func stop() async {
    await #expect(processExitsWith: .success) {
      try prepareService()
      try await withBusyDaemon(stopWhileQueued)
    }
  }

  @Test("a session whose record is lost while it is queued is not released", .exitTest)
  func lost() async {
    await #expect(processExitsWith: .success) {
      try prepareService()
      try await withBusyDaemon(loseRecordWhileQueued)
    }
  }

  @Test("what does not fit into the queue is refused with a sentence", .exitTest)
  func refusal() async {
    await #expect(processExitsWith: .success) {
      try prepareService()
      try await refuseBeyondTheQueue()
    }
  }

  @Test("a daemon that drains ends what is queued at once, and lets what runs finish", .exitTest)
  func drain() async {
    await #expect(processExitsWith: .success) {
      try prepareService()
      try await withBusyDaemon(drainWithAQueue)
    }
  }

  @Test(
    "a queue outlives its daemon in its order, whether that was replaced or killed", .exitTest,
    arguments: [SIGUSR1, SIGKILL])
  func nextDaemon(_ signal: Int32) async throws {
    let path = try await leaveAQueue(by: signal)
    await #expect(processExitsWith: .success) { [path = path as String] in
      try prepareService()
      try await goOnWithTheQueue(at: path)
    }
  }

  @Test(
    "what the next daemon lacks a credential for ends with that reason, and the rest of the queue goes on",
    .exitTest)
  func lostCredential() async throws {
    let path = try await leaveAQueue(by: SIGKILL)
    await #expect(processExitsWith: .success) { [path = path as String] in
      try prepareService()
      try await endForWantOfACredential(at: path)
    }
  }

  /// Runs a daemon with one session that runs and two that wait until the signal has ended it.
  private func leaveAQueue(by signal: Int32) async throws -> String {
    let path = Scratch().path
    let end: ExitTest.Condition = signal == SIGKILL ? .signal(SIGKILL) : .success
    await #expect(processExitsWith: end) { [path = path as String, signal = signal as Int32] in
      try prepareService()
      try await leaveDaemon(at: path, by: signal)
    }
    return path
  }
}

private let one = "max_sessions = 1"

/// Asks for a session and leaves it to the daemon.
@Loop private func begin(_ client: Client, detach: Bool = true) async throws -> AcceptedSession {
  try await client.send(ServiceFixture.request(detach: detach))
  guard case .accepted(let session) = try await client.next() else { throw CallFailed("run", 0) }
  return session
}

@Loop private func list(_ client: Client) async throws -> [LiveSession] {
  try await client.send(.list)
  guard case .sessions(let sessions) = try await client.next() else { throw CallFailed("list", 0) }
  return sessions
}

/// How a session ends, however it is just now.
@Loop private func end(of session: String, on fixture: ServiceFixture) async throws -> FinishedSession {
  let client = try await fixture.connect()
  defer { client.close() }
  try await client.send(.follow(session: session))
  while true {
    switch try await client.next() {
    case .accepted: continue
    case .finished(let finished): return finished
    default: throw CallFailed("follow", 0)
    }
  }
}

private func starts() -> [String] {
  ServiceFixture.log["runner.session_started"].compactMap { $0["session_id"] }
}

@Loop private func startInOrder() async throws {
  let fixture = try ServiceFixture("max_sessions = 2")
  defer { fixture.scratch.remove() }
  fixture.start()
  let client = try await fixture.connect()
  defer { client.close() }
  // The first one ends last, so that the others come and go in the place beside it.
  let last = try makeFIFO("\(fixture.scratch.path)/last")
  try fixture.on("run", "finish=\"$here/last\"")
  var sessions = [try await begin(client)]
  try await fixture.waitForCommands(1)
  fixture.clear("run")
  for _ in 0..<4 { sessions.append(try await begin(client)) }
  let ids = sessions.map(\.id)
  #expect(sessions.map(\.queuedBehind) == [nil, nil, 0, 1, 2])
  try await fixture.waitForCommands(2)
  let listed = try await list(client)
  #expect(listed.map(\.id) == ids)
  #expect(listed.map(\.queuePosition) == [nil, nil, 1, 2, 3])
  #expect(listed.map { $0.phase == "queued" } == [false, false, true, true, true])
  #expect(ServiceFixture.log["runner.session_queued"].map { $0["behind"] } == ["0", "1", "2"])
  // Those that wait hold nothing and have asked podman nothing.
  let open = openDescriptors()
  for id in ids.dropFirst(2) { #expect(!open.contains { $0.contains(id) }) }
  #expect(try fixture.podman.calls(of: "run").count == 2)
  for count in 3...5 {
    try fixture.finish(0)
    try await fixture.waitForCommands(count)
    #expect(starts() == Array(ids.prefix(count)))
    #expect(try await list(client).compactMap(\.queuePosition) == Array(1..<6 - count))
  }
  try fixture.finish(0)
  #expect(write(last.raw, "0\n", 2) == 2)
  for id in ids { #expect(try await end(of: id, on: fixture).outcome == "success") }
  let phases = Record(path: sessions[4].record).metadata?.phases.map(\.name)
  #expect(phases == ["queued", "image", "launch", "setup", "command", "teardown", "seal"])
  #expect(raise(SIGTERM) == 0)
  #expect(await fixture.end() == nil)
  #expect(!exists(fixture.runtimeDirectory))
}

/// A daemon for one session at a time, which has one.
@Loop private func withBusyDaemon(
  _ body: @Loop (_ fixture: ServiceFixture, _ client: Client, _ running: AcceptedSession) async throws -> Void
) async throws {
  let fixture = try ServiceFixture(one)
  defer { fixture.scratch.remove() }
  fixture.start()
  let client = try await fixture.connect()
  defer { client.close() }
  let running = try await begin(client)
  try await fixture.waitForCommands(1)
  try await body(fixture, client, running)
}

@Loop private func stopWhileQueued(
  _ fixture: ServiceFixture, _ client: Client, _ running: AcceptedSession
) async throws {
  let waiting = try await fixture.connect()
  defer { waiting.close() }
  let queued = try await begin(waiting, detach: false)
  let last = try await begin(client)
  #expect(last.queuedBehind == 1)
  try await client.send(.stop(session: queued.id))
  #expect(try await client.next() == .done)
  guard case .finished(let finished) = try await waiting.next() else {
    Issue.record("the end of the queued session was not told")
    return
  }
  #expect(finished.outcome == "error")
  #expect(finished.exitCode == nil)
  #expect(finished.reason == "The session was stopped while it was queued.")
  #expect(finished.problems == [])
  #expect(Record(path: queued.record).standing == .complete)
  #expect(Record(path: queued.record).metadata?.phases.map(\.name) == ["queued", "teardown", "seal"])
  #expect(!exists("\(fixture.runtimeDirectory)/\(queued.id)"))
  #expect(!(try contents(of: "\(fixture.scratch.path)/calls").contains(queued.id)))
  #expect(try await list(client).map(\.queuePosition) == [nil, 1])
  for count in 1...2 {
    try await fixture.waitForCommands(count)
    try fixture.finish(0)
  }
  #expect(try await end(of: running.id, on: fixture).outcome == "success")
  #expect(try await end(of: last.id, on: fixture).outcome == "success")
  #expect(starts() == [running.id, last.id])
  #expect(raise(SIGTERM) == 0)
  #expect(await fixture.end() == nil)
}

@Loop private func loseRecordWhileQueued(
  _ fixture: ServiceFixture, _ client: Client, _ running: AcceptedSession
) async throws {
  let queued = try await begin(client)
  #expect(queued.queuedBehind == 0)
  let commands = try contents(of: "\(fixture.scratch.path)/commands")
  for name in ["session.json", "console.log"] { #expect(unlink("\(queued.record)/agentd/\(name)") == 0) }
  #expect(rmdir("\(queued.record)/agentd") == 0)
  try fixture.finish(0)
  let session = try await end(of: queued.id, on: fixture)
  #expect(session.outcome == "error")
  #expect(session.reason?.contains("is not on the disk") == true)
  #expect(session.reason?.contains("so it was not released") == true)
  #expect(!session.problems.isEmpty)
  #expect(try contents(of: "\(fixture.scratch.path)/commands") == commands)
  #expect(try await end(of: running.id, on: fixture).outcome == "success")
  #expect(raise(SIGTERM) == 0)
  #expect(await fixture.end() == nil)
}

@Loop private func refuseBeyondTheQueue() async throws {
  let fixture = try ServiceFixture("max_sessions = 1\nqueue_limit = 1")
  defer { fixture.scratch.remove() }
  fixture.start()
  let client = try await fixture.connect()
  defer { client.close() }
  let running = try await begin(client)
  let queued = try await begin(client)
  let sentence =
    "The daemon is full, with 1 live and 1 queued (daemon.max_sessions, daemon.queue_limit): "
    + "ask again when one has ended."
  try await client.send(ServiceFixture.request())
  #expect(ServiceFixture.refusal(try await client.next()) == sentence)
  #expect(ServiceFixture.log["agentd.run_rejected"].map { $0["reason"] } == [sentence])
  // A request that comes to nothing leaves the place that was kept for it.
  try await client.send(.stop(session: queued.id))
  #expect(try await client.next() == .done)
  for _ in 0..<3 {
    try await client.send(ServiceFixture.request(profile: "nobody"))
    #expect(ServiceFixture.refusal(try await client.next())?.contains("There is no profile") == true)
  }
  let other = try await begin(client)
  #expect(other.queuedBehind == 0)
  for count in 1...2 {
    try await fixture.waitForCommands(count)
    try fixture.finish(0)
  }
  for session in [running, other] {
    #expect(try await end(of: session.id, on: fixture).outcome == "success")
  }
  #expect(raise(SIGTERM) == 0)
  #expect(await fixture.end() == nil)
}

@Loop private func drainWithAQueue(
  _ fixture: ServiceFixture, _ client: Client, _ running: AcceptedSession
) async throws {
  var waiting: [(client: Client, session: AcceptedSession)] = []
  for _ in 0..<3 {
    let client = try await fixture.connect()
    waiting.append((client, try await begin(client, detach: false)))
  }
  #expect(raise(SIGTERM) == 0)
  for (client, session) in waiting {
    guard case .finished(let finished) = try await client.next() else { throw CallFailed("end", 0) }
    #expect(finished.id == session.id)
    #expect(finished.outcome == "error")
    #expect(finished.reason == Service.drained)
    #expect(Record(path: session.record).standing == .complete)
    client.close()
  }
  // The one that runs is not touched by all this.
  #expect(try await list(client).map(\.id) == [running.id])
  try fixture.finish(3)
  #expect(await fixture.end() == nil)
  #expect(Record(path: running.record).metadata?.outcome == "blocked")
  #expect(try fixture.podman.calls(of: "run").count == 1)
  #expect(!exists(fixture.runtimeDirectory))
}

/// The ids of the sessions that the daemon before has left, the one that ran first.
private func leftSessions(at path: String) throws -> [String] {
  try contents(of: "\(path)/left").split(separator: "\n").map(String.init)
}

@Loop private func leaveDaemon(at path: String, by signal: Int32) async throws {
  let fixture = try ServiceFixture(one, at: path)
  fixture.start()
  let client = try await fixture.connect()
  var sessions = [try await begin(client).id]
  try await fixture.waitForCommands(1)
  for _ in 0..<2 { sessions.append(try await begin(client).id) }
  try write(sessions.map { "\($0)\n" }.joined(), to: "\(path)/left")
  #expect(raise(signal) == 0)
  await Latch().wait()
}

@Loop private func goOnWithTheQueue(at path: String) async throws {
  let fixture = try ServiceFixture(one, takingOver: path)
  defer { fixture.scratch.remove() }
  let ids = try leftSessions(at: path)
  fixture.start()
  let client = try await fixture.connect()
  defer { client.close() }
  let recovered = ServiceFixture.log["agentd.session_recovered"]
  for id in ids.dropFirst() {
    #expect(recovered.first { $0["session_id"] == id }?["how"] == "queued")
  }
  // The container that ran has ended with the process that held its FIFO, and podman does not know it any more.
  #expect(try await end(of: ids[0], on: fixture).outcome == "error")
  try await fixture.waitForCommands(2)
  #expect(starts() == [ids[1]])
  let listed = try await list(client)
  #expect(listed.map(\.id) == Array(ids.dropFirst()))
  #expect(listed.map(\.queuePosition) == [nil, 1])
  // A newcomer is behind those that were there.
  let newcomer = try await begin(client)
  #expect(newcomer.queuedBehind == 1)
  for (count, id) in zip(2..., ids.dropFirst() + [newcomer.id]) {
    try await fixture.waitForCommands(count)
    try fixture.finish(3)
    let finished = try await end(of: id, on: fixture)
    #expect(finished.outcome == "blocked")
    #expect(finished.problems == [])
  }
  #expect(starts() == ids.dropFirst() + [newcomer.id])
  // Once by each container, read anew from the environment.
  let secret = "API_KEY \(ServiceFixture.secret)\n"
  #expect(try contents(of: "\(path)/received") == String(repeating: secret, count: 4))
  #expect(try fixture.podman.calls(of: "run").count == 4)
  #expect(raise(SIGTERM) == 0)
  #expect(await fixture.end() == nil)
  #expect(!exists(fixture.runtimeDirectory))
}

@Loop private func endForWantOfACredential(at path: String) async throws {
  #expect(unsetenv(ServiceFixture.secretVariable) == 0)
  let fixture = try ServiceFixture(one, takingOver: path)
  defer { fixture.scratch.remove() }
  let ids = try leftSessions(at: path)
  fixture.start()
  for id in ids.dropFirst() {
    let finished = try await end(of: id, on: fixture)
    #expect(finished.outcome == "error")
    #expect(
      finished.reason
        == "Profile worker, credential API_KEY: the daemon's environment has no variable "
        + "\(ServiceFixture.secretVariable). Export it and start the daemon again.")
    #expect(finished.problems == [])
  }
  #expect(starts().isEmpty)
  #expect(try fixture.podman.calls(of: "run").count == 1)
  #expect(raise(SIGTERM) == 0)
  #expect(await fixture.end() == nil)
  #expect(!exists(fixture.runtimeDirectory))
}
