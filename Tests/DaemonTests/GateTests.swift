// Sessions at the way to podman: those of one profile that hang there hold up no other, and none is held by a stop.

import Audit
import Control
import Engine
import Glibc
import Reactor
import TestSupport
import Testing

@testable import Daemon

@Suite("Sessions at the gate")
struct GateTests {
  @Test(
    "a profile whose launches hang lets another's session start and finish, and its own be stopped at once",
    .exitTest)
  func hangingProfile() async {
    await #expect(processExitsWith: .success) {
      try prepareService()
      try await hangOneProfile()
    }
  }
}

@Loop private func hangOneProfile() async throws {
  let fixture = try ServiceFixture("max_podman_processes = 2", others: ["other"])
  defer { fixture.scratch.remove() }
  try write("", to: "\(fixture.scratch.path)/hung")
  try fixture.on("run", "case \"$*\" in *-worker-*) echo hung >>\"$here/hung\"; exec sleep 1000 ;; esac")
  var deadlines = Containers.Deadlines()
  deadlines.patience = .milliseconds(100)
  deadlines.withdrawnLaunch = .seconds(1)
  fixture.start(deadlines: deadlines)
  var clients: [Client] = []
  var sessions: [AcceptedSession] = []
  for _ in 0..<5 {
    let client = try await fixture.connect()
    try await client.send(ServiceFixture.request())
    guard case .accepted(let session) = try await client.next() else { throw CallFailed("run", 0) }
    clients.append(client)
    sessions.append(session)
  }
  try await fixture.podman.wait(for: 2, linesIn: "hung")
  let other = try await fixture.connect()
  defer { other.close() }
  #expect(try await fixture.run(other, profile: "other")?.outcome == "success")

  func isLaunched(_ session: AcceptedSession) throws -> Bool {
    try fixture.podman.calls(of: "run").contains { $0.contains(session.id) }
  }
  func stop(_ number: Int) async throws -> FinishedSession? {
    try await other.send(.stop(session: sessions[number].id))
    #expect(try await other.next() == .done)
    guard case .finished(let finished) = try await clients[number].next() else { return nil }
    #expect(finished.outcome == "error")
    #expect(finished.reason == "The session was stopped before its container was started.")
    #expect(finished.problems == [])
    #expect(Record(path: sessions[number].record).standing == .complete)
    clients[number].close()
    return finished
  }
  // However many of the profile wait, and however long, no more of it are started than may run.
  #expect(try sessions.indices.filter { try isLaunched(sessions[$0]) } == [0, 1])
  for number in 2..<5 { _ = try await stop(number) }
  #expect(try fixture.podman.calls(of: "run").count { $0.contains("-worker-") } == 2)
  #expect(try fixture.podman.calls(of: "rm").allSatisfy { !$0.contains("-worker-") })
  // What podman hangs over is killed, and what it may have made is removed.
  for number in 0..<2 {
    _ = try await stop(number)
    #expect(try fixture.podman.calls(of: "rm").contains { $0.contains(sessions[number].id) })
  }
  fixture.clear("run")
  #expect(try await fixture.run(other)?.outcome == "success")
  #expect(raise(SIGTERM) == 0)
  #expect(await fixture.end() == nil)
  #expect(!exists(fixture.runtimeDirectory))
}
