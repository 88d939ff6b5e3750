// What a supervisor hears of the daemon, and what the daemon's children do not hear of it.

import Control
import Glibc
import Logging
import Reactor
import TestSupport
import Testing

@testable import Daemon

@Suite("Supervisor")
struct SupervisorTests {
  init() { LoopThread.start() }

  private let scratch = Scratch()
  private var path: String { "\(scratch.path)/notify" }

  @Loop private func supervisor(_ environment: [String: String], _ events: Events = Events()) -> Supervisor {
    Supervisor(environment: environment, log: Logger(label: "agentd") { _ in EventRecorder(events) })
  }

  @Test("a change of the sessions is told once each, and not before the daemon is ready") @Loop
  func sessions() async throws {
    defer { scratch.remove() }
    let receiver = try NotifyReceiver(path)
    defer { receiver.close() }
    let supervisor = supervisor(["NOTIFY_SOCKET": path])
    defer { supervisor.close() }
    supervisor.sessions = 2
    supervisor.enter(.serving)
    supervisor.sessions = 2
    supervisor.sessions = 1
    supervisor.enter(.draining)
    supervisor.sessions = 0
    #expect(
      receiver.takeAll() == [
        "READY=1\nSTATUS=2 sessions", "STATUS=1 session", "STOPPING=1\nSTATUS=Draining: 1 session left",
        "STATUS=Draining: 0 sessions left",
      ])
  }

  @Test("signs of life come while a supervisor waits for them, and stop at the end") @Loop
  func watchdog() async throws {
    defer { scratch.remove() }
    let receiver = try NotifyReceiver(path)
    defer { receiver.close() }
    let supervisor = supervisor([
      "NOTIFY_SOCKET": path, "WATCHDOG_USEC": "2000", "WATCHDOG_PID": "\(getpid())",
    ])
    supervisor.enter(.serving)
    #expect(await receiver.next() == "READY=1\nSTATUS=0 sessions")
    for _ in 0..<10 { #expect(await receiver.next() == "WATCHDOG=1") }
    supervisor.enter(.draining)
    var message = await receiver.next()
    while message == "WATCHDOG=1" { message = await receiver.next() }
    // A sign of life that waited for room, when this test was slow to read, goes along in the same message.
    let drain = ["STOPPING=1", "STATUS=Draining: 0 sessions left"]
    #expect(message.split(separator: "\n").filter { $0 != "WATCHDOG=1" } == drain.map { $0[...] })
    for _ in 0..<10 { #expect(await receiver.next() == "WATCHDOG=1") }
    supervisor.close()
    _ = receiver.takeAll()
    // Timers fire in the order in which they are due, so the next sign of life would come before the end of this.
    await Timer.sleep(.milliseconds(2))
    #expect(receiver.takeAll() == [])
  }

  @Test(
    "no sign of life where none is waited for, or another process's",
    arguments: [
      [:], ["WATCHDOG_USEC": "0"], ["WATCHDOG_USEC": "soon"], ["WATCHDOG_USEC": "-1"],
      ["WATCHDOG_USEC": "2000", "WATCHDOG_PID": "1"], ["WATCHDOG_USEC": "2000", "WATCHDOG_PID": "one"],
    ]) @Loop
  func noWatchdog(_ environment: [String: String]) async throws {
    defer { scratch.remove() }
    let receiver = try NotifyReceiver(path)
    defer { receiver.close() }
    let supervisor = supervisor(environment.merging(["NOTIFY_SOCKET": path]) { $1 })
    defer { supervisor.close() }
    supervisor.enter(.serving)
    await Timer.sleep(.milliseconds(2))
    #expect(receiver.takeAll() == ["READY=1\nSTATUS=0 sessions"])
  }

  @Test("a supervisor that cannot be reached is one warning")
  @Loop
  func unreachable() async throws {
    defer { scratch.remove() }
    let events = Events()
    let supervisor = supervisor(["NOTIFY_SOCKET": path, "WATCHDOG_USEC": "2000"], events)
    supervisor.enter(.serving)
    supervisor.sessions = 1
    await Timer.sleep(.milliseconds(2))
    supervisor.enter(.draining)
    supervisor.close()
    #expect(
      events["agentd.supervisor_unreachable"] == [["reason": "connect \(path): No such file or directory"]])
  }

  @Test(
    "a daemon is ready when it listens, tells of its sessions and that it drains, then says no more",
    .exitTest)
  func life() async {
    scratch.remove()
    await #expect(processExitsWith: .success) {
      try prepareProcess()
      try await liveSupervised()
    }
  }

  @Test("a daemon whose supervisor is gone runs all the same", .exitTest)
  func alone() async {
    scratch.remove()
    await #expect(processExitsWith: .success) {
      try prepareProcess()
      try await liveWithoutSupervisor()
    }
  }
}

private func prepareProcess() throws {
  guard setenv(ServiceFixture.secretVariable, ServiceFixture.secret, 1) == 0 else {
    throw CallFailed("setenv", errno)
  }
  LoggingSystem.bootstrap { _ in EventRecorder(ServiceFixture.log) }
  LoopThread.start()
}

@Loop private func liveSupervised() async throws {
  let fixture = try ServiceFixture()
  defer { fixture.scratch.remove() }
  let path = "\(fixture.scratch.path)/notify"
  let receiver = try NotifyReceiver(path)
  defer { receiver.close() }
  let words = [
    "NOTIFY_SOCKET": path, "WATCHDOG_USEC": "3600000000", "WATCHDOG_PID": "\(getpid())",
    "INVOCATION_ID": "0123",
    "LISTEN_FDS": "1", "LISTEN_PID": "\(getpid())", "LISTEN_FDNAMES": "a",
  ]
  let others = [
    "PATH": "\(fixture.scratch.path):/usr/bin:/bin", ServiceFixture.secretVariable: ServiceFixture.secret,
    "HARMLESS": "kept",
  ]
  fixture.start(environment: words.merging(others) { $1 })
  #expect(await receiver.next() == "READY=1\nSTATUS=0 sessions")
  // Who is told that it is ready can connect.
  let client = try await Client.connect(to: fixture.socketPath)
  defer { client.close() }
  try await client.send(ServiceFixture.request())
  guard case .accepted = try await client.next() else {
    Issue.record("the session was not accepted")
    return
  }
  #expect(await receiver.next() == "STATUS=1 session")
  try await fixture.waitForCommands(1)
  let environment = try contents(of: "\(fixture.scratch.path)/environment")
  #expect(environment.contains("HARMLESS=kept\n"))
  for name in words.keys { #expect(!environment.contains("\(name)=")) }

  #expect(raise(SIGTERM) == 0)
  #expect(await receiver.next() == "STOPPING=1\nSTATUS=Draining: 1 session left")
  try fixture.finish(0)
  #expect(await receiver.next() == "STATUS=Draining: 0 sessions left")
  #expect(await fixture.end() == nil)
  #expect(receiver.takeAll() == [])
}

@Loop private func liveWithoutSupervisor() async throws {
  let fixture = try ServiceFixture()
  defer { fixture.scratch.remove() }
  fixture.start(environment: [
    "PATH": "\(fixture.scratch.path):/usr/bin:/bin", ServiceFixture.secretVariable: ServiceFixture.secret,
    "NOTIFY_SOCKET": "\(fixture.scratch.path)/nobody", "WATCHDOG_USEC": "2000",
  ])
  let client = try await fixture.connect()
  defer { client.close() }
  try await client.send(ServiceFixture.request())
  guard case .accepted = try await client.next() else {
    Issue.record("the session was not accepted")
    return
  }
  try fixture.finish(0)
  guard case .finished(let finished) = try await client.next() else {
    Issue.record("the end of the session was not told")
    return
  }
  #expect(finished.outcome == "success")
  #expect(raise(SIGTERM) == 0)
  #expect(await fixture.end() == nil)
  #expect(ServiceFixture.log["agentd.supervisor_unreachable"].count == 1)
}
