// One daemon hands over to the next: sessions go on, and none of them is lost or run twice.

import Glibc
import Reactor
import Testing

extension EndToEnd {
  @Suite("A hand-over")
  struct HandOverTests {
    @Test("under load takes over 20 sessions that run and those that begin meanwhile, and loses none")
    func underLoad() throws {
      let gate = try CountingGate()
      try withDaemons([gate.profile]) { daemons in
        let daemon = daemons[0]
        try daemon.start()
        let running = try (0..<20).map { _ in try daemon.begin("run", "site", "--detach") }
        for client in running { #expect(try daemon.end(of: client).status == .exited(0)) }
        try waitUntil("20 commands", files: [gate.file], seen: { daemon.report() }) {
          gate.lines == 20 ? () : nil
        }
        let pids = try daemon.initPids()
        #expect(pids.count == 20)

        let old = try #require(daemon.program)
        let late = try (0..<5).map { _ in try daemon.begin("run", "site", "--detach") }
        try daemon.launch(["daemon", "--replace", "--config", daemon.config])
        #expect(try old.wait() == .exited(0))
        let end = try old.errors.lines.map { try LogLine($0) }.map(\.event)
        #expect(end.contains("agentd.handing_over"))
        #expect(end.last == "agentd.daemon_stopped")
        try daemon.waitForStart()
        // Each of the late ones was taken by one of the two, or was told that nobody took it.
        var accepted = 20
        for client in late where try daemon.end(of: client).status == .exited(0) { accepted += 1 }
        #expect(daemon.records().count == accepted)

        #expect(try daemon.initPids().filter { pids.contains($0) }.count == 20)
        for _ in 0..<accepted { gate.gate.open() }
        let recovered = daemon.log().filter { $0.event == "agentd.session_recovered" }
        #expect(recovered.count >= 20)
        #expect(Set(recovered.map { $0.json["how"]?.string }) == ["goes_on"])
        try daemon.waitFor("runner.session_teardown", count: accepted)
        #expect(gate.lines == accepted)
        for record in daemon.records() {
          #expect(try record.json()["outcome"]?.string == "blocked")
          #expect(record.unsealed() == [])
        }
        #expect(try daemon.containers() == [])
        #expect(daemon.strays() == [])
        #expect(try daemon.stop() == .exited(0))
        #expect(daemon.runtimeFiles() == [])
      }
    }

    @Test("by SIGUSR1 ends the daemon, also one that drains, and leaves its sessions to whoever comes next")
    func whileDraining() throws {
      let gate = try CountingGate()
      try withDaemons([gate.profile]) { daemons in
        let daemon = daemons[0]
        try daemon.start()
        try daemon.begin("run", "site").waitForOutput("ready")
        daemon.program?.signal(SIGTERM)
        try daemon.waitFor("agentd.draining")
        daemon.program?.signal(SIGUSR1)
        #expect(try daemon.wait() == .exited(0))
        #expect(try daemon.initPids().count == 1)
        try daemon.start()
        gate.gate.open()
        try daemon.waitFor("runner.session_teardown")
        #expect(gate.lines == 1)
        #expect(try daemon.record().json()["outcome"]?.string == "blocked")
      }
    }

    @Test("is not needed: --replace where nobody runs starts as always, also beside a stale pid file")
    func nobody() throws {
      try withDaemon(.shell("echo served"), starting: false) { daemon in
        let words = ["daemon", "--replace", "--config", daemon.config]
        try daemon.start(words)
        daemon.program?.signal(SIGKILL)
        #expect(try daemon.wait() == .signaled(SIGKILL))
        try daemon.start(words)
        #expect(try daemon.agentd("run", "site").text == "served\n")
        #expect(try daemon.stop() == .exited(0))
      }
    }

    @Test("does not take place when the new daemon could not start: the old one serves on")
    func unfit() throws {
      try withDaemon(.shell("echo served")) { daemon in
        let old = try #require(daemon.program)
        let audit = "\(daemon.home)/audit"
        #expect(rename(audit, "\(audit).old") == 0)
        try writeFile(audit, "a file")
        let new = try daemon.spawn(["daemon", "--replace", "--config", daemon.config])
        #expect(try new.wait() == .exited(1))
        #expect(new.errors.text.contains(audit))
        #expect(unlink(audit) == 0 && rename("\(audit).old", audit) == 0)
        #expect(!old.hasEnded)
        #expect(try daemon.agentd("run", "site").text == "served\n")
      }
    }
  }
}

extension Daemon {
  /// The process ids of the inits of its containers that run, sorted.
  func initPids() throws -> [String] {
    let names = try containers()
    guard !names.isEmpty else { return [] }
    return try Host.run("podman", ["inspect", "--format", "{{.State.Pid}}"] + names)
      .split(separator: "\n").map(String.init).filter { $0 != "0" }.sorted()
  }
}
