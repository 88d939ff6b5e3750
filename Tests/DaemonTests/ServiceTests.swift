// The daemon as a whole, from its start to its end: each test is a process of its own, because a daemon's signals,
// its log and the secrets in its environment belong to the process.

import Control
import FoundationEssentials
import Glibc
import Reactor
import TestSupport
import Testing

@testable import Daemon

@Suite("Service")
struct ServiceTests {
  /// The events of a log in JSON.
  private func events(_ bytes: [UInt8]) throws -> [LogLine] {
    try bytes.split(separator: UInt8(ascii: "\n")).map {
      try JSONDecoder().decode(LogLine.self, from: Data($0))
    }
  }

  @Test("a session is run, listed and told of, and the first SIGTERM waits for it", .exitTest)
  func life() async throws {
    let result = try await #require(
      processExitsWith: .success, observing: [\.standardErrorContent]
    ) {
      try prepareService()
      try await liveAndDrain()
    }
    let events = try events(result.standardErrorContent)
    #expect(
      events.map(\.event) == [
        "agentd.reactor_chosen", "agentd.scheduling_chosen", "agentd.startup_reconciliation_completed",
        "agentd.daemon_started", "runner.session_started", "agentd.draining", "agentd.run_rejected",
        "runner.session_outcome", "runner.session_teardown", "agentd.daemon_stopped",
      ])
    #expect(Set(events.map(\.label)) == ["agentd", "runner"])
    #expect(events.allSatisfy { $0.timestamp.hasSuffix("Z") })
    let started = try #require(events.first { $0.event == "agentd.daemon_started" })
    #expect(started.pid != nil)
    for event in events where event.label == "runner" {
      #expect(event.profile == "worker")
      #expect(event.container_name == "agentd-\(started.daemon_id ?? "")-worker-\(event.session_id ?? "")")
    }
    let outcome = try #require(events.first { $0.event == "runner.session_outcome" })
    #expect(outcome.outcome == "blocked")
    #expect(outcome.exit_code == 3)
    #expect(outcome.level == "info")
    let log = String(decoding: result.standardErrorContent, as: UTF8.self)
    #expect(!log.contains(ServiceFixture.secret))
  }

  @Test(
    "sessions end by their code, by their deadline and by being stopped, and a detached one by itself",
    .exitTest)
  func endings() async {
    await #expect(processExitsWith: .success) {
      try prepareService()
      try await endInFourWays()
    }
  }

  @Test("a session whose container cannot be removed says so, and its record stays open", .exitTest)
  func stuckTeardown() async {
    await #expect(processExitsWith: .success) {
      try prepareService()
      try await keepRecordOpen()
    }
  }

  @Test(
    "a session is neither started nor released when what the next daemon needs cannot be written", .exitTest)
  func unwritableFacts() async {
    await #expect(processExitsWith: .success) {
      try prepareService()
      try await failToKeepFacts()
    }
  }

  @Test(
    "a hand-over leaves the session that runs, and ends the one whose image does not come, with a reason",
    .exitTest)
  func handOver() async throws {
    let result = try await #require(
      processExitsWith: .success, observing: [\.standardOutputContent, \.standardErrorContent]
    ) {
      try prepareService()
      try await handSessionsOver()
    }
    let output = String(decoding: result.standardOutputContent, as: UTF8.self)
    let words = try #require(output.split(separator: "\n").first { $0.hasPrefix("left ") }).split(
      separator: " ")
    let (path, running, waiting) = (String(words[1]), String(words[2]), String(words[3]))
    defer {
      // Lets the stand-in for podman end that the daemon has left.
      close(open("\(path)/never", O_WRONLY | O_NONBLOCK | O_CLOEXEC))
      Scratch(existing: path).remove()
    }
    let events = try events(result.standardErrorContent)
    #expect(events.last?.event == "agentd.daemon_stopped")
    #expect(events.contains { $0.event == "agentd.handing_over" })
    #expect(events.filter { $0.event == "runner.session_error" }.map(\.session_id) == [waiting])
    #expect(
      try contents(of: "\(path)/audit/worker/\(waiting)/agentd/session.json").contains(
        "The daemon was replaced before the session's image was there: run it again."))
    #expect(
      !(try contents(of: "\(path)/audit/worker/\(running)/agentd/session.json").contains("end_timestamp")))
    #expect(!exists("\(path)/run/agentd.pid"))
    #expect(!exists("\(path)/run/agentd.sock"))
    let calls = try contents(of: "\(path)/calls").split(separator: "\n").filter { $0.hasPrefix("rm ") }
    #expect(calls.allSatisfy { !$0.contains(running) })
  }

  @Test("a second signal ends the daemon at once and leaves its sessions as they are", .exitTest)
  func secondSignal() async throws {
    let result = try await #require(
      processExitsWith: .exitCode(128 + SIGTERM), observing: [\.standardOutputContent]
    ) {
      try prepareService()
      try await leaveAtOnce()
    }
    let output = String(decoding: result.standardOutputContent, as: UTF8.self)
    let path = try #require(output.split(separator: "\n").first { $0.hasPrefix("left ") }).dropFirst(5)
    let left = Scratch(existing: String(path))
    defer { left.remove() }
    #expect(!exists("\(path)/run/agentd.pid"))
    #expect(!exists("\(path)/run/agentd.sock"))
    // The private directory of its session waits for the next daemon.
    #expect(try contents(of: "\(path)/calls").contains("run --detach"))
    #expect(!(try contents(of: "\(path)/calls").contains("rm --force")))
  }

  @Test("a daemon that cannot start says why and leaves nothing behind", .exitTest)
  func refusedStarts() async {
    await #expect(processExitsWith: .success) {
      try prepareService()
      try await refuseToStart()
    }
  }
}

private struct LogLine: Decodable {
  var timestamp: String
  var level: String
  var label: String
  var event: String
  var pid: Int?
  var daemon_id: String?
  var session_id: String?
  var container_name: String?
  var profile: String?
  var outcome: String?
  var exit_code: Int?
}

@Loop private func liveAndDrain() async throws {
  let fixture = try ServiceFixture()
  defer { fixture.scratch.remove() }
  fixture.start()
  let client = try await fixture.connect()
  defer { client.close() }
  try await client.send(.list)
  #expect(try await client.next() == .sessions(sessions: []))
  try await client.send(.stop(session: "0123456789abcdef"))
  #expect(
    ServiceFixture.refusal(try await client.next())
      == "No session \"0123456789abcdef\" lives: see `agentd ps`.")

  try await client.send(ServiceFixture.request())
  guard case .accepted(let accepted) = try await client.next() else {
    Issue.record("the session was not accepted")
    return
  }
  #expect(accepted.record == "\(fixture.scratch.path)/audit/worker/\(accepted.id)")
  try await fixture.waitForCommands(1)
  try await client.send(.list)
  guard case .sessions(let sessions) = try await client.next() else {
    Issue.record("the sessions were not listed")
    return
  }
  #expect(sessions.map(\.id) == [accepted.id])
  #expect(sessions.first?.repository == "https://example.org/a.git")

  // The credential came by the envelope, and podman's environment never had it.
  #expect(try contents(of: "\(fixture.scratch.path)/received") == "API_KEY \(ServiceFixture.secret)\n")
  let environment = try contents(of: "\(fixture.scratch.path)/environment")
  #expect(environment.contains("HARMLESS=kept\n"))
  #expect(!environment.contains(ServiceFixture.secretVariable))
  #expect(!environment.contains(ServiceFixture.secret))
  #expect(!(try contents(of: "\(fixture.scratch.path)/calls").contains(ServiceFixture.secret)))

  #expect(raise(SIGTERM) == 0)
  await ServiceFixture.log.wait(for: "agentd.draining")
  // Nobody new gets in, who is there is served, and no session begins any more.
  await #expect(throws: ClientError.self) { try await Client.connect(to: fixture.socketPath) }
  try await client.send(ServiceFixture.request())
  #expect(
    ServiceFixture.refusal(try await client.next())
      == "The daemon is stopping: it finishes its sessions and begins none.")
  try fixture.finish(3)
  guard case .finished(let finished) = try await client.next() else {
    Issue.record("the end of the session was not told")
    return
  }
  #expect(finished.outcome == "blocked")
  #expect(finished.isSuccess)
  #expect(finished.exitCode == 3)
  #expect(finished.signal == nil)
  #expect(finished.problems == [])
  #expect(await fixture.end() == nil)
  #expect(mode(of: "\(accepted.record)/agentd/session.json") == 0o444)
  #expect(try contents(of: "\(accepted.record)/agentd/session.json").contains("\"outcome\": \"blocked\""))
  #expect(!exists(fixture.socketPath))
  #expect(!exists(fixture.pidFile))
  #expect(!exists(fixture.runtimeDirectory))
}

@Loop private func endInFourWays() async throws {
  let fixture = try ServiceFixture()
  defer { fixture.scratch.remove() }
  fixture.start()
  let client = try await fixture.connect()
  defer { client.close() }

  func run(_ request: Request, _ whileItRuns: @Loop (AcceptedSession) async throws -> Void) async throws
    -> FinishedSession?
  {
    try await client.send(request)
    guard case .accepted(let accepted) = try await client.next() else { return nil }
    try await whileItRuns(accepted)
    guard case .finished(let finished) = try await client.next() else { return nil }
    return finished
  }
  let failed = try await run(ServiceFixture.request()) { _ in try fixture.finish(5) }
  #expect(failed?.outcome == "work_failed")
  #expect(failed?.isSuccess == false)
  let other = try await fixture.connect()
  defer { other.close() }
  let stopped = try await run(ServiceFixture.request()) { session in
    try await fixture.waitForCommands(2)
    try await other.send(.stop(session: session.id))
    #expect(try await other.next() == .done)
  }
  #expect(stopped?.outcome == "terminated_by_signal")
  #expect(stopped?.exitCode == 128 + SIGTERM)
  let late = try await run(ServiceFixture.request(timeout: 50)) { _ in }
  #expect(late?.outcome == "timed_out")

  try await client.send(ServiceFixture.request(detach: true))
  guard case .accepted(let detached) = try await client.next() else {
    Issue.record("the detached session was not accepted")
    return
  }
  client.close()
  try fixture.finish(0)
  #expect(raise(SIGINT) == 0)
  #expect(await fixture.end() == nil)
  #expect(try contents(of: "\(detached.record)/agentd/session.json").contains("\"outcome\": \"success\""))
}

@Loop private func keepRecordOpen() async throws {
  let fixture = try ServiceFixture()
  defer { fixture.scratch.remove() }
  try write("", to: "\(fixture.scratch.path)/stuck")
  fixture.start()
  let client = try await fixture.connect()
  defer { client.close() }
  try await client.send(ServiceFixture.request())
  guard case .accepted(let accepted) = try await client.next() else {
    Issue.record("the session was not accepted")
    return
  }
  try fixture.finish(0)
  guard case .finished(let finished) = try await client.next() else {
    Issue.record("the end of the session was not told")
    return
  }
  #expect(finished.problems.count == 1)
  #expect(finished.problems.first?.contains("it is stuck") == true)
  #expect(!(try contents(of: "\(accepted.record)/agentd/session.json").contains("end_timestamp")))
  #expect(exists("\(fixture.runtimeDirectory)/\(accepted.id)"))
  #expect(raise(SIGTERM) == 0)
  #expect(await fixture.end() == nil)
}

@Loop private func failToKeepFacts() async throws {
  let fixture = try ServiceFixture()
  defer { fixture.scratch.remove() }
  // What stands for a full disk: in the place of the journal is a link that leads nowhere.
  let fill = """
    for directory in "$here"/run/*/; do rm -r "$directory/journal"; ln -s /nowhere "$directory/journal"; done

    """
  try write(fill, to: "\(fixture.scratch.path)/on_run")
  fixture.start()
  let client = try await fixture.connect()
  defer { client.close() }
  func reason() async throws -> String {
    try await client.send(ServiceFixture.request())
    guard case .accepted = try await client.next(), case .finished(let finished) = try await client.next()
    else { return "the session had no end" }
    #expect(finished.outcome == "error")
    #expect(finished.problems == [])
    return finished.reason ?? ""
  }
  #expect(try await reason().contains("so it was not released"))
  #expect(try fixture.podman.calls(of: "run").count == 1)
  // The stand-in for a container goes on at the end of its FIFO, with nothing.
  #expect(!exists("\(fixture.scratch.path)/received"))
  #expect(unlink("\(fixture.runtimeDirectory)/journal") == 0)
  #expect(raise(SIGTERM) == 0)
  #expect(await fixture.end() == nil)
  #expect(!exists(fixture.runtimeDirectory))
}

@Loop private func handSessionsOver() async throws {
  let fixture = try ServiceFixture()
  fixture.start(handOverPatience: .zero)
  let client = try await fixture.connect()
  var sessions: [String] = []
  func begin() async throws {
    try await client.send(ServiceFixture.request(detach: true))
    if case .accepted(let accepted) = try await client.next() { sessions.append(accepted.id) }
  }
  try await begin()
  try await fixture.waitForCommands(1)
  // The image has gone, and podman does not come to an end with its search.
  let path = fixture.scratch.path
  guard mkfifo("\(path)/never", 0o600) == 0 else { throw CallFailed("mkfifo", errno) }
  try write("echo waits >>\"$here/waiting\"; read word <\"$here/never\"\n", to: "\(path)/on_image")
  try write("", to: "\(path)/waiting")
  guard mkdir("\(path)/store", 0o700) == 0, mkdir("\(path)/store/overlay-images", 0o700) == 0 else {
    throw CallFailed("mkdir", errno)
  }
  try write("{}", to: "\(path)/store/overlay-images/images.json")
  try await begin()
  try await fixture.podman.wait(for: 1, linesIn: "waiting")
  let line = Array("left \(path) \(sessions.joined(separator: " "))\n".utf8)
  #expect(write(1, line, line.count) == line.count)
  #expect(raise(SIGUSR1) == 0)
  await Latch().wait()
}

@Loop private func leaveAtOnce() async throws {
  let fixture = try ServiceFixture()
  fixture.start()
  let client = try await fixture.connect()
  try await client.send(ServiceFixture.request())
  _ = try await client.next()
  try await fixture.waitForCommands(1)
  let line = Array("left \(fixture.scratch.path)\n".utf8)
  #expect(write(1, line, line.count) == line.count)
  #expect(raise(SIGTERM) == 0)
  await ServiceFixture.log.wait(for: "agentd.draining")
  #expect(raise(SIGTERM) == 0)
  await Latch().wait()
}

@Loop private func refuseToStart() async throws {
  func refusal(
    environment: [String: String]? = nil, _ change: @Loop (ServiceFixture) throws -> Void
  ) async throws -> String {
    let fixture = try ServiceFixture()
    defer { fixture.scratch.remove() }
    try change(fixture)
    fixture.start(environment: environment)
    let sentence = try #require(await fixture.end())
    #expect(!exists(fixture.pidFile))
    #expect(!exists(fixture.runtimeDirectory))
    return sentence.replacing(fixture.scratch.path, with: "HERE")
  }
  #expect(
    try await refusal(environment: ["PATH": "/nonexistent"]) { _ in }
      == "There is no podman in PATH (/nonexistent): install Podman, or correct the daemon's PATH.")
  let broken = try await refusal { fixture in
    #expect(rename("\(fixture.scratch.path)/podman", "\(fixture.scratch.path)/script") == 0)
    #expect(symlink("/bin/false", "\(fixture.scratch.path)/podman") == 0)
  }
  #expect(
    broken
      == "Podman does not work (podman info ended with exit code 1): see that `podman info` works for the "
      + "daemon's user.")
  let noRoot = try await refusal { try write("", to: $0.configuration.daemon.auditRoot) }
  #expect(noRoot.hasPrefix("Audit records cannot be written. "))
  // Somebody takes the socket's place between the claim and the listening.
  let taken = try await refusal { fixture in
    try write("mkdir \"$here/run/agentd.sock\"\n", to: "\(fixture.scratch.path)/on_ps")
  }
  #expect(
    taken == "The kernel refuses what the daemon needs (bind HERE/run/agentd.sock: Address already in use): "
      + "see to its limits and permissions.")
}
