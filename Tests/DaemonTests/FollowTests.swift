// Clients that follow sessions of a daemon: each test is a process of its own, as those of the service are.

import Audit
import Control
import Glibc
import Reactor
import TestSupport
import Testing
import Time

@testable import Daemon

@Suite("Following")
struct FollowTests {
  @Test("all who follow a session are told its one end, while it lives and ever after", .exitTest)
  func followers() async {
    await #expect(processExitsWith: .success) {
      try prepareService()
      try await followAndJoinLate()
    }
  }

  @Test("what is no session, or one that nobody finished, is refused with a sentence", .exitTest)
  func refusals() async {
    await #expect(processExitsWith: .success) {
      try prepareService()
      try await followStrangers()
    }
  }

  @Test(
    "a daemon that drains tells its followers before it goes, and waits for none that has gone", .exitTest)
  func draining() async {
    await #expect(processExitsWith: .success) {
      try prepareService()
      try await followWhileDraining()
    }
  }
}

private let nobody = "fedcba9876543210"

@Loop private func follow(_ id: String, over client: Client) async throws -> Reply {
  try await client.send(.follow(session: id))
  return try await client.next()
}

@Loop private func begin(on fixture: ServiceFixture, detach: Bool) async throws -> (Client, AcceptedSession) {
  let client = try await fixture.connect()
  try await client.send(ServiceFixture.request(detach: detach))
  guard case .accepted(let session) = try await client.next() else { throw CallFailed("run", 0) }
  return (client, session)
}

@Loop private func followAndJoinLate() async throws {
  let fixture = try ServiceFixture()
  defer { fixture.scratch.remove() }
  fixture.start()
  let (owner, session) = try await begin(on: fixture, detach: false)
  var clients: [Client] = []
  for _ in 0..<3 {
    let client = try await fixture.connect()
    #expect(try await follow(session.id, over: client) == .accepted(session: session))
    clients.append(client)
  }
  // Who leaves early costs nobody anything; who asks for other things meanwhile is answered; who follows twice is
  // told twice.
  clients.removeFirst().close()
  try await clients[0].send(.list)
  guard case .sessions(let listed) = try await clients[0].next() else { throw CallFailed("list", 0) }
  #expect(listed.map(\.id) == [session.id])
  try await clients[0].send(.describe(session: session.id))
  guard case .described(let described) = try await clients[0].next() else { throw CallFailed("describe", 0) }
  #expect(described.record == session.record)
  #expect(described.metadata.contains("\"session_id\": \"\(session.id)\""))
  try await clients[0].send(.ping)
  #expect(try await clients[0].next() == .done)
  #expect(try await follow(session.id, over: clients[1]) == .accepted(session: session))

  try await fixture.waitForCommands(1)
  try fixture.finish(5)
  let end = try await owner.next()
  guard case .finished(let finished) = end else { throw CallFailed("finish", 0) }
  #expect(finished.outcome == "work_failed")
  #expect(finished.problems == [])
  for client in [clients[0], clients[1], clients[1]] { #expect(try await client.next() == end) }

  for client in [clients[0], owner, try await fixture.connect()] {
    #expect(try await follow(session.id, over: client) == .accepted(session: session))
    guard case .finished(var recorded) = try await client.next() else { throw CallFailed("follow", 0) }
    // By the wall clock, and without the time that the record itself took to be published.
    #expect(recorded.durationMilliseconds <= finished.durationMilliseconds + 1000)
    recorded.durationMilliseconds = finished.durationMilliseconds
    #expect(recorded == finished)
    client.close()
  }
  clients[1].close()
  #expect(raise(SIGTERM) == 0)
  #expect(await fixture.end() == nil)
}

@Loop private func followStrangers() async throws {
  let fixture = try ServiceFixture()
  defer { fixture.scratch.remove() }
  fixture.start()
  let client = try await fixture.connect()
  defer { client.close() }
  let root = fixture.configuration.daemon.auditRoot
  let names = [
    nobody, "", "..", "../x", "/etc/passwd", "0123456789ABCDEF", "\u{0}\u{1b}[2J",
    String(repeating: "a", count: 9999),
  ]
  for name in names {
    let sentence = ServiceFixture.refusal(try await follow(name, over: client)) ?? ""
    #expect(sentence.hasSuffix("is known: an id is 16 hex digits, as `agentd ps` prints it."))
    #expect(!sentence.unicodeScalars.contains { $0.properties.generalCategory == .control })
    #expect(sentence.utf8.count < 200)
    try await client.send(.describe(session: name))
    let refusal = ServiceFixture.refusal(try await client.next()) ?? ""
    #expect(refusal.hasPrefix("No session ") && refusal.hasSuffix(" lives: see `agentd ps`."))
    #expect(!refusal.unicodeScalars.contains { $0.properties.generalCategory == .control })
    #expect(refusal.utf8.count < 300)
  }
  let metadata = Metadata(
    sessionID: nobody, profile: "gone", repoURL: "https://example.org/a.git", startTimestamp: Loop.wallClock,
    image: "base:1")
  let record = try Record.create(auditRoot: root, metadata: metadata)
  let sentence = ServiceFixture.refusal(try await follow(nobody, over: client)) ?? ""
  #expect(sentence.hasPrefix("The session \(nobody) does not live, and its record \(record.path) was never"))
  #expect(unlink(record.metadataPath) == 0)
  #expect(ServiceFixture.refusal(try await follow(nobody, over: client)) == sentence)
  try write("{}", to: record.metadataPath)
  let unreadable = ServiceFixture.refusal(try await follow(nobody, over: client)) ?? ""
  #expect(unreadable.hasPrefix("The record of session \(nobody) cannot be read. '\(record.metadataPath)'"))
  #expect(raise(SIGTERM) == 0)
  #expect(await fixture.end() == nil)
}

@Loop private func followWhileDraining() async throws {
  let fixture = try ServiceFixture()
  defer { fixture.scratch.remove() }
  fixture.start()
  let (asker, session) = try await begin(on: fixture, detach: true)
  defer { asker.close() }
  try await fixture.waitForCommands(1)
  let early = try await fixture.connect()
  let gone = try await fixture.connect()
  let late = try await fixture.connect()
  for client in [early, gone] {
    #expect(try await follow(session.id, over: client) == .accepted(session: session))
  }
  gone.close()
  try await late.send(.list)
  _ = try await late.next()
  #expect(raise(SIGTERM) == 0)
  await ServiceFixture.log.wait(for: "agentd.draining")
  #expect(try await follow(session.id, over: late) == .accepted(session: session))
  try fixture.finish(3)
  for client in [early, late] {
    guard case .finished(let finished) = try await client.next() else { throw CallFailed("follow", 0) }
    #expect(finished.outcome == "blocked")
    await #expect(throws: ClientError.self) { try await client.next() }
    client.close()
  }
  #expect(await fixture.end() == nil)
}
