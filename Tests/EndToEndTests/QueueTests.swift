// Sessions beyond daemon.max_sessions, with a real podman.

import Glibc
import Reactor
import Testing

extension EndToEnd {
  @Suite("The queue")
  struct QueueTests {
    @Test("is kept in its order, seen by its clients, and can be left")
    func order() throws {
      let gate = try CountingGate()
      try withDaemon(gate.profile, starting: false) { daemon in
        try daemon.limit("max_sessions = 1\nqueue_limit = 2", [gate.profile])
        try daemon.start()
        let first = try daemon.begin("run", "site")
        try first.waitForOutput("ready")
        let second = try daemon.begin("run", "site")
        try daemon.waitFor("runner.session_queued")
        let third = try daemon.begin("run", "site")
        let queued = try daemon.waitFor("runner.session_queued", count: 2).compactMap(\.session)
        let refused = try daemon.agentd("run", "site")
        #expect(refused.status == .exited(1))
        #expect(refused.errors.contains("The daemon is full, with 1 live and 2 queued"))
        let list = try daemon.agentd("ps").text.split(separator: "\n")
        #expect(list.count == 4)
        #expect(list[2].hasPrefix(queued[0]))
        #expect(list[2].contains("queued (1)"))
        #expect(list[3].contains("queued (2)"))
        let json = try JSON(parsing: try daemon.agentd("ps", "--json").text)
        #expect(json.elements.compactMap { $0["queue_position"]?.integer } == [1, 2])
        #expect(try daemon.containers().count == 1)

        #expect(try daemon.agentd("stop", queued[0]).status == .exited(0))
        let stopped = try daemon.end(of: second)
        #expect(stopped.status == .exited(1))
        #expect(stopped.errors.contains("agentd: session \(queued[0]) is queued, and the next to start\n"))
        #expect(stopped.errors.contains("The session was stopped while it was queued."))
        #expect(try daemon.record(queued[0]).json()["outcome"]?.string == "error")

        gate.gate.open()
        #expect(try daemon.end(of: first).status == .exited(0))
        try third.waitForOutput("ready")
        gate.gate.open()
        let last = try daemon.end(of: third)
        #expect(last.status == .exited(0))
        #expect(last.errors.contains("agentd: session \(queued[1]) is queued behind 1 other\n"))
        #expect(gate.lines == 2)
        let json3 = try daemon.record(queued[1]).json()
        #expect(json3["phases"]?.elements.first?["name"]?.string == "queued")
        #expect(try daemon.containers() == [])
        #expect(try daemon.stop() == .exited(0))
        #expect(daemon.runtimeFiles() == [])
      }
    }

    /// What the next daemon does with a session when one was killed as it came into the queue, or as it left it.
    @Test(
      "of a daemon that is killed is gone on with by the next, and nothing is run twice",
      arguments: [("queued", "queued"), ("dequeued", "interrupted")])
    func killed(_ step: String, _ how: String) throws {
      let gate = try CountingGate()
      try withDaemon(gate.profile, starting: false) { daemon in
        try daemon.limit("max_sessions = 1", [gate.profile])
        daemon.killAt(step)
        try daemon.start()
        try daemon.begin("run", "site", "--detach").ended(in: daemon)
        let first = try daemon.record().id
        try waitUntil("the first command", files: [gate.file], seen: { daemon.report() }) {
          gate.lines == 1 ? () : nil
        }
        _ = try daemon.begin("run", "site", "--detach")
        if step == "dequeued" {
          try daemon.waitFor("runner.session_queued")
          gate.gate.open()
        }
        #expect(try daemon.wait() == .signaled(SIGKILL))
        daemon.killAt(nil)
        try daemon.start()
        let recovered = daemon.log().filter { $0.event == "agentd.session_recovered" }
        let second = try #require(recovered.first { $0.session != first })
        #expect(second.json["how"]?.string == how)
        let session = try #require(second.session)
        if how == "queued" {
          #expect(try daemon.agentd("ps").text.contains("queued (1)"))
          gate.gate.open()
          try waitUntil("the second command", files: [gate.file], seen: { daemon.report() }) {
            gate.lines == 2 ? () : nil
          }
          gate.gate.open()
        }
        try daemon.waitFor("runner.session_teardown", session: session)
        #expect(gate.lines == (how == "queued" ? 2 : 1))
        #expect(
          try daemon.record(session).json()["outcome"]?.string == (how == "queued" ? "blocked" : "error"))
        #expect(try daemon.stop() == .exited(0))
        #expect(try daemon.record(first).json()["outcome"]?.string == "blocked")
        for record in daemon.records() { #expect(record.unsealed() == []) }
        #expect(try daemon.containers() == [])
        #expect(daemon.strays() == [])
        #expect(daemon.runtimeFiles() == [])
      }
    }
  }
}

extension Program {
  /// Waits for the end of a client that is to end well.
  fileprivate func ended(in daemon: Daemon) throws {
    #expect(try daemon.end(of: self).status == .exited(0))
  }
}

extension Daemon {
  /// Has the daemon, which has not started yet, keep to these bounds.
  fileprivate func limit(_ settings: String, _ profiles: [Profile]) throws {
    self.settings = settings
    try configure(profiles)
  }
}
