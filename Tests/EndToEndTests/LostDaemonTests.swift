// What clients see when the daemon goes: by SIGKILL, in the middle of their session, and back or not.

import Glibc
import Reactor
import Testing

extension EndToEnd {
  @Suite("A client whose daemon goes")
  struct LostDaemonTests {
    @Test("goes on showing the output, finds the next daemon and reports as if nothing had happened")
    func comesBack() throws {
      let gate = try Gate()
      try withDaemon(.gated(gate, threeWords)) { daemon in
        let clients = try [
          daemon.begin("run", "site"), daemon.begin("logs", "-f", try session(of: daemon)),
          daemon.begin("wait", try session(of: daemon)),
        ]
        for client in clients[..<2] { try client.waitForOutput("ready") }
        try kill(daemon)
        for client in clients { try client.waitForErrors("No daemon answers: waiting up to 1m for it.") }
        // It is conmon that writes the log.
        gate.open("alone")
        for client in clients[..<2] { try client.waitForOutput("alone") }
        try daemon.start()
        for client in clients { try client.waitForErrors("The daemon is back") }
        gate.open("again")
        for client in clients[..<2] { try client.waitForOutput("again") }
        gate.open("3")
        let ended = try clients.map { try daemon.end(of: $0) }
        #expect(ended.map(\.status) == [.exited(0), .exited(0), .exited(0)])
        #expect(ended.map(\.text) == ["ready\nalone\nagain\n", "ready\nalone\nagain\n", ""])
        for one in [ended[0], ended[2]] { #expect(one.lastLine == "session blocked (exit code 3)") }
        let record = try daemon.record()
        #expect(try record.json()["outcome"]?.string == "blocked")
        #expect(record.unsealed() == [])
        #expect(try daemon.containers() == [])
      }
    }

    @Test("is told how its session ended while no daemon ran")
    func endsMeanwhile() throws {
      let gate = try Gate()
      try withDaemon(.gated(gate, threeWords)) { daemon in
        let client = try daemon.begin("run", "site")
        try client.waitForOutput("ready")
        try kill(daemon)
        try client.waitForErrors("No daemon answers")
        for word in ["one", "two", "7"] { gate.open(word) }
        try client.waitForOutput("two")
        try daemon.start()
        let ended = try daemon.end(of: client)
        #expect(ended.status == .exited(7))
        #expect(ended.text == "ready\none\ntwo\n")
        #expect(ended.lastLine == "session generic_failure (exit code 7)")
      }
    }

    @Test("is one of 20 that all get their outcome when another daemon replaces theirs")
    func replaced() throws {
      let gate = try Gate()
      try withDaemon(.gated(gate, "echo ready; read word </gate/gate; echo done; exit 4")) { daemon in
        let clients = try (0..<20).map { _ in try daemon.begin("run", "site") }
        for client in clients { try client.waitForOutput("ready") }
        let old = try #require(daemon.program)
        try daemon.launch(["daemon", "--replace", "--config", daemon.config])
        #expect(try old.wait() == .exited(0))
        // Some end before the next daemon is there, some after.
        for _ in 0..<20 { gate.open() }
        for client in clients {
          let ended = try daemon.end(of: client)
          #expect(ended.status == .exited(0))
          #expect(ended.lastLine == "session nothing_ready (exit code 4)")
          #expect(ended.text == "ready\ndone\n")
        }
        try daemon.waitForStart()
      }
    }

    @Test("10 MB and more, with a restart in the middle, are complete in run, in logs and in logs -f")
    func megabytes() throws {
      let gate = try Gate()
      let noise = Noise(seed: 7, output: 12_000_000, errors: 10)
      try noise.write(to: gate.directory)
      let script = """
        read word </gate/gate; head -c 2000000 /gate/output; read word </gate/gate
        tail -c +2000001 /gate/output | head -c 5000000; read word </gate/gate; tail -c +7000001 /gate/output
        """
      try withDaemon(.gated(gate, script)) { daemon in
        let run = try daemon.begin("run", "site")
        let follower = try daemon.begin("logs", "-f", try session(of: daemon))
        gate.open()
        for client in [run, follower] { try client.waitForOutput(bytes: 2_000_000) }
        try kill(daemon)
        gate.open()
        for client in [run, follower] { try client.waitForOutput(bytes: 7_000_000) }
        gate.open()
        try daemon.start()
        for client in [run, follower] {
          #expect(try daemon.end(of: client).status == .exited(0))
          let isComplete = client.output.bytes == noise.output
          #expect(isComplete, "\(client.name)")
        }
        let logs = try daemon.begin("logs", try daemon.record().id)
        try daemon.end(of: logs)
        let isComplete = logs.output.bytes == noise.output
        #expect(isComplete)
      }
    }

    @Test("stops its session when Ctrl-C came while no daemon ran, as soon as the next one does")
    func interruptMeanwhile() throws {
      let gate = try Gate()
      try withDaemon(.gated(gate, "trap 'echo told; exit 5' TERM; echo ready; read word </gate/gate")) {
        daemon in
        let client = try daemon.begin("run", "site")
        try client.waitForOutput("ready")
        try kill(daemon)
        try client.waitForErrors("No daemon answers")
        client.signal(SIGINT)
        try client.waitForErrors(
          "the session is stopped as soon as the daemon is back; Ctrl-C again leaves it")
        try daemon.start()
        let ended = try daemon.end(of: client)
        #expect(ended.status == .exited(5))
        #expect(ended.text == "ready\ntold\n")
      }
    }

    @Test("leaves its session alone at a second Ctrl-C")
    func secondInterrupt() throws {
      let gate = try Gate()
      try withDaemon(.gated(gate)) { daemon in
        let client = try daemon.begin("run", "site")
        try client.waitForOutput("ready")
        try kill(daemon)
        try client.waitForErrors("No daemon answers")
        client.signal(SIGINT)
        try client.waitForErrors("Ctrl-C again leaves it running")
        client.signal(SIGINT)
        let ended = try daemon.end(of: client)
        #expect(ended.status == .exited(130))
        #expect(ended.lastLine.contains(try daemon.record().id))
        let state = try Host.run(
          "podman", ["inspect", "--format", "{{.State.Status}}"] + daemon.containers())
        #expect(state == "running\n")
      }
    }

    @Test("gives up after its patience, names the session, and says how to ask again")
    func givesUp() throws {
      let gate = try Gate()
      try withDaemon(.gated(gate)) { daemon in
        let run = try daemon.begin("run", "site", "--wait-for-daemon", "300ms")
        let id = try session(of: daemon)
        let follower = try daemon.begin("logs", "-f", id, "--wait-for-daemon", "0s")
        for client in [run, follower] { try client.waitForOutput("ready") }
        try kill(daemon)
        for client in [run, follower] {
          let ended = try daemon.end(of: client)
          #expect(ended.status == .exited(69))
          #expect(ended.text == "ready\n")
          #expect(
            ended.lastLine.hasSuffix(
              " Session \(id) may go on without one: `agentd wait \(id)` tells how it ends."))
        }
        // A patience of nothing has nothing to announce.
        #expect(run.errors.text.contains("waiting up to 300ms"))
        #expect(!follower.errors.text.contains("waiting"))
        for words in [["wait", id], ["logs", "-f", id]] {
          let ended = try daemon.agentd(words + ["--wait-for-daemon", "0s"])
          #expect(ended.status == .exited(69))
          #expect(ended.lastLine.hasPrefix("agentd: No daemon listens at \(daemon.socket): start it"))
          #expect(ended.lastLine.hasSuffix("`agentd wait \(id)` tells how it ends."))
        }
        let logs = try daemon.agentd("logs", id)
        #expect(logs.status == .exited(0))
        #expect(logs.text == "ready\n")
      }
    }

    @Test("is told plainly by each verb when the daemon went before it had answered")
    func midRequest() throws {
      try withDaemon(.shell("true"), starting: false) { daemon in
        try makeDirectory(daemon.runtimeDirectory, mode: 0o700)
        // Takes connections and requests, and goes: what a daemon does that is killed in the middle of an answer.
        let script = """
          socket(S, PF_UNIX, SOCK_STREAM, 0) && bind(S, pack_sockaddr_un($ARGV[0])) && listen(S, 9) or die "$!";
          $| = 1; print "listening\\n";
          while (accept(C, S)) { $_ = <C>; print; close C }
          """
        let server = try Program(
          try Host.find("perl"), ["-MSocket", "-e", script, daemon.socket], directory: "\(daemon.home)/io",
          name: "perl")
        defer { server.kill() }
        try server.waitForOutput("listening")
        for words in [["run", "site"], ["run", "site", "--detach"], ["stop", "0123456789abcdef"], ["ps"]] {
          let ended = try daemon.agentd(words)
          #expect(ended.status == .exited(69))
          #expect(ended.errors.hasPrefix("agentd: The daemon ended the connection before it had answered"))
          #expect(ended.errors.contains("Whether a session began is not known") == (words[0] == "run"))
          #expect(ended.errors.split(separator: "\n").count == 1)
        }
        // Nothing was asked a second time.
        #expect(server.output.lines.count == 5)
      }
    }
  }
}

/// Waits for three lines, repeats two of them and ends with the third.
private let threeWords = """
  echo ready
  for turn in 1 2; do read word </gate/gate; echo "$word"; done
  read word </gate/gate; exit "$word"
  """

/// The id of the session that was begun first.
private func session(of daemon: Daemon) throws -> String {
  return try #require(try daemon.waitFor("runner.session_started")[0].session)
}

/// Kills the daemon without a chance to do anything, and returns when nobody listens any more: until the kernel has torn
/// its ring down, its socket takes connections, which are hung up then.
private func kill(_ daemon: Daemon) throws {
  daemon.program?.signal(SIGKILL)
  #expect(try daemon.wait() == .signaled(SIGKILL))
  while let connection = try? Connection(to: daemon.socket) { _ = try connection.readToEnd() }
}
