// A session that outlives its daemon: what it keeps over a restart.

import Glibc
import Reactor
import Testing

extension EndToEnd {
  @Suite("A session that outlives its daemon")
  struct RestartTests {
    /// Kills the daemon at once, whatever it does.
    private func killDaemon(_ daemon: Daemon) throws {
      daemon.program?.signal(SIGKILL)
      #expect(try daemon.wait() == .signaled(SIGKILL))
    }

    @Test("and ends while none runs is finished with its own code and podman's time")
    func endsUnwatched() throws {
      let gate = try Gate()
      try withDaemon(.gated(gate, "echo ready; read word </gate/gate; echo late; exit 5")) { daemon in
        try daemon.begin("run", "site").waitForOutput("ready")
        try killDaemon(daemon)
        let name = try #require(try daemon.containers().first)
        gate.open()
        #expect(try Host.podman("wait", name) == "5\n")
        let finished = try Host.podman("inspect", "--format", "{{json .State.FinishedAt}}", name)
        try daemon.start()
        let recovered = try daemon.waitFor("agentd.session_recovered")[0]
        #expect(recovered.json["how"]?.string == "finished")
        try daemon.waitFor("runner.session_teardown")
        let record = try daemon.record()
        let json = try record.json()
        #expect(json["outcome"]?.string == "work_failed")
        #expect(json["exit_code"]?.integer == 5)
        // To the millisecond, which podman's text has after 24 characters with its quote.
        let end = try #require(json["end_timestamp"]?.string)
        #expect(finished.prefix(24) == "\"\(end.dropLast())")
        #expect(json["commit"]?.string == (try Repositories.head("plain")))
        #expect(record.console.contains("late"))
        #expect(record.unsealed() == [])
        #expect(try daemon.containers() == [])
      }
    }

    @Test("keeps its deadline")
    func deadline() throws {
      let gate = try Gate()
      try withDaemon(.gated(gate)) { daemon in
        daemon.killAt("command")
        try daemon.restart()
        _ = try daemon.begin("run", "site", "--timeout", "6s")
        #expect(try daemon.wait() == .signaled(SIGKILL))
        daemon.killAt(nil)
        try daemon.start()
        try daemon.waitFor("runner.session_teardown")
        let json = try daemon.record().json()
        #expect(json["outcome"]?.string == "timed_out")
        #expect(json["exit_code"]?.integer == 143)
        #expect(try daemon.containers() == [])
      }
    }

    @Test("can be stopped by the next one, also when the one before had begun to")
    func stop() throws {
      let gate = try Gate()
      let script =
        "trap 'echo told' TERM; echo ready; while :; do read word </gate/gate && break; done; exit 4"
      try withDaemon(.gated(gate, script)) { daemon in
        let client = try daemon.begin("run", "site")
        try client.waitForOutput("ready")
        let session = try daemon.record().id
        #expect(try daemon.agentd("stop", session).status == .exited(0))
        try client.waitForOutput("told")
        try killDaemon(daemon)
        // It is told again, and killed after the grace: nobody asks a second time.
        try daemon.start()
        try daemon.waitFor("runner.session_teardown", session: session)
        let json = try daemon.record().json()
        #expect(json["outcome"]?.string == "terminated_by_signal")
        #expect(json["exit_code"]?.integer == 137)
        #expect(try daemon.containers() == [])
      }
    }

    @Test("loses no byte of 10 MB that it prints before it ends, with a restart in the middle")
    func output() throws {
      let gate = try Gate()
      let script = "echo ready; read word </gate/gate; seq 1 1500000; exit 0"
      try withDaemon(.gated(gate, script)) { daemon in
        try daemon.begin("run", "site").waitForOutput("ready")
        try killDaemon(daemon)
        gate.open()
        try daemon.start()
        try daemon.waitFor("runner.session_teardown")
        let record = try daemon.record()
        #expect(try record.json()["outcome"]?.string == "success")
        var expected = Array("ready\n".utf8)
        for number in 1...1_500_000 { expected += Array("\(number)\n".utf8) }
        #expect(expected.count > 10_000_000)
        // Compared as a whole: a failure must not print it.
        let isEqual = record.output() == expected
        #expect(isEqual)
      }
    }

    @Test("is left alone by another daemon of the host, which is killed and restarted beside it")
    func twoDaemons() throws {
      let gates = try (0..<2).map { _ in try CountingGate() }
      try withDaemons(gates.map(\.profile)) { daemons in
        for daemon in daemons {
          try daemon.start()
          try daemon.begin("run", "site").waitForOutput("ready")
        }
        let containers = try daemons.map { try $0.containers() }
        for _ in 0..<3 {
          try killDaemon(daemons[0])
          try daemons[0].start()
          try daemons[0].waitFor("agentd.session_recovered")
        }
        #expect(try daemons.map { try $0.containers() } == containers)
        #expect(daemons[1].log().filter { $0.event == "agentd.session_recovered" }.isEmpty)
        for (daemon, gate) in zip(daemons, gates) {
          gate.gate.open()
          try daemon.waitFor("runner.session_teardown")
          #expect(gate.lines == 1)
          #expect(try daemon.record().json()["outcome"]?.string == "blocked")
          #expect(try daemon.containers() == [])
        }
      }
    }

    @Test("and whose runtime directory is lost is finished from its record and from podman")
    func lostRuntimeDirectory() throws {
      let gate = try Gate()
      try withDaemon(.gated(gate, "echo ready; read word </gate/gate; exit 5")) { daemon in
        for _ in 0..<2 { try daemon.begin("run", "site").waitForOutput("ready") }
        try killDaemon(daemon)
        let names = try daemon.containers()
        // One has ended, as podman knows; the other runs, and nobody knows what it may do and for how long.
        try Host.podman("kill", names[0])
        try Host.podman("wait", names[0])
        try Host.removeTree(daemon.runtimeDirectory)
        try daemon.start()
        try daemon.waitFor("runner.session_teardown", count: 2)
        let outcomes = try daemon.records().map { try $0.json()["outcome"]?.string ?? "none" }
        #expect(outcomes.sorted() == ["error", "terminated_by_signal"])
        for record in daemon.records() { #expect(record.unsealed() == []) }
        #expect(try daemon.containers() == [])
        let status = try daemon.stop()
        #expect(status == .exited(0))
        #expect(daemon.runtimeFiles() == [])
      }
    }
  }
}

extension Daemon {
  /// Ends the daemon and starts it again with what was set since.
  func restart() throws {
    _ = try stop()
    try start()
  }
}

extension Record {
  /// What the session wrote to its stdout, byte for byte.
  func output() -> [UInt8] {
    var bytes: [UInt8] = []
    for line in (readFile("\(path)/agentd/console.log") ?? []).split(separator: UInt8(ascii: "\n")) {
      // TIME STREAM TAG CONTENT, where the tag F ends a line.
      let parts = line.split(separator: UInt8(ascii: " "), maxSplits: 3, omittingEmptySubsequences: false)
      guard parts.count == 4, parts[1].elementsEqual("stdout".utf8) else { continue }
      bytes += parts[3]
      if parts[2].elementsEqual("F".utf8) { bytes.append(UInt8(ascii: "\n")) }
    }
    return bytes
  }
}
