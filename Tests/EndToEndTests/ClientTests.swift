// The verbs that watch, stop and list sessions, and clients that leave.

import Glibc
import Reactor
import Testing

extension EndToEnd {
  @Suite("A session and its client")
  struct ClientTests {
    @Test("killing the client does not end the session")
    func killedClient() throws {
      let gate = try Gate()
      try withDaemon(.gated(gate, "echo ready; read word </gate/gate; echo \"$word\" >.runa/word")) {
        daemon in
        let client = try daemon.begin("run", "site")
        try client.waitForOutput("ready")
        client.signal(SIGKILL)
        try client.wait()
        try daemon.settle()
        gate.open("alone")
        let record = try daemon.record()
        try daemon.waitFor("runner.session_teardown", session: record.id)
        #expect(try record.json()["outcome"]?.string == "success")
        #expect(record.runaText("word") == "alone\n")
      }
    }

    @Test("Ctrl-C tells the command with SIGTERM, and the client waits for what it makes of that")
    func interrupt() throws {
      let gate = try Gate()
      let script = "trap 'echo told; exit 3' TERM; echo ready; read word </gate/gate"
      try withDaemon(.gated(gate, script)) { daemon in
        let client = try daemon.begin("run", "site")
        try client.waitForOutput("ready")
        client.signal(SIGINT)
        let run = try daemon.end(of: client)
        #expect(run.text == "ready\ntold\n")
        #expect(run.status == .exited(0))
        let json = try daemon.record().json()
        #expect(json["outcome"]?.string == "blocked")
        #expect(json["exit_code"]?.integer == 3)
      }
    }

    @Test("Ctrl-C ends a command without a handler as terminated_by_signal")
    func interruptDefault() throws {
      let gate = try Gate()
      try withDaemon(.gated(gate, "echo ready; exec sleep 1000")) { daemon in
        let client = try daemon.begin("run", "site")
        try client.waitForOutput("ready")
        client.signal(SIGINT)
        let run = try daemon.end(of: client)
        #expect(run.status == .exited(143))
        #expect(run.lastLine == "session terminated_by_signal (exit code 143)")
        let json = try daemon.record().json()
        #expect(json["outcome"]?.string == "terminated_by_signal")
        #expect(json["signal"]?.integer == 15)
        #expect(try daemon.containers() == [])
      }
    }

    @Test("a command that ignores SIGTERM is killed after its grace")
    func grace() throws {
      let gate = try Gate()
      let script = "trap 'echo ignored' TERM; echo ready; while :; do sleep 0.1; done"
      try withDaemon(.gated(gate, script)) { daemon in
        let client = try daemon.begin("run", "site")
        try client.waitForOutput("ready")
        let began = ContinuousClock.now
        client.signal(SIGINT)
        let run = try daemon.end(of: client)
        #expect(ContinuousClock.now - began >= .seconds(10))
        #expect(run.text == "ready\nignored\n")
        #expect(run.status == .exited(137))
        #expect(try daemon.record().json()["outcome"]?.string == "terminated_by_signal")
        #expect(try daemon.record().unsealed() == [])
      }
    }

    @Test("a second Ctrl-C leaves the session to the daemon")
    func secondInterrupt() throws {
      let gate = try Gate()
      let script = """
        trap 'echo told' TERM; echo ready
        while [ -z "$word" ]; do read word </gate/gate; done; echo "$word" >.runa/word
        """
      try withDaemon(.gated(gate, script)) { daemon in
        let client = try daemon.begin("run", "site")
        try client.waitForOutput("ready")
        client.signal(SIGINT)
        try client.waitForOutput("told")
        client.signal(SIGINT)
        let run = try daemon.end(of: client)
        #expect(run.status == .exited(130))
        gate.open("later")
        let record = try daemon.record()
        try daemon.waitFor("runner.session_teardown", session: record.id)
        #expect(record.runaText("word") == "later\n")
      }
    }

    @Test("`agentd stop` ends a session for the client that waits for it")
    func stop() throws {
      let gate = try Gate()
      let script = "trap 'echo told; exit 5' TERM; echo ready; read word </gate/gate"
      try withDaemon(.gated(gate, script)) { daemon in
        let client = try daemon.begin("run", "site")
        try client.waitForOutput("ready")
        let stop = try daemon.agentd("stop", try daemon.record().id)
        #expect(stop.status == .exited(0))
        let run = try daemon.end(of: client)
        #expect(run.status == .exited(5))
        #expect(run.text == "ready\ntold\n")
        let again = try daemon.agentd("stop", try daemon.record().id)
        #expect(again.status == .exited(1))
        #expect(again.errors.contains(try daemon.record().id))
      }
    }

    @Test("--detach prints the session's id and returns while the session goes on")
    func detach() throws {
      let gate = try Gate()
      try withDaemon(.gated(gate)) { daemon in
        let run = try daemon.agentd("run", "site", "--detach")
        #expect(run.status == .exited(0))
        let id = String(run.text.dropLast())
        #expect(run.text == "\(try daemon.record().id)\n")
        gate.open()
        try daemon.waitFor("runner.session_teardown", session: id)
        #expect(try daemon.record(id).json()["outcome"]?.string == "success")
      }
    }

    @Test("`agentd ps` lists live sessions with id, profile, phase, age and repository, and no others")
    func list() throws {
      let gate = try Gate()
      try withDaemon(.gated(gate)) { daemon in
        let empty = try daemon.agentd("ps", "--json")
        #expect(try JSON(parsing: empty.text) == .array([]))
        let client = try daemon.begin("run", "site")
        try client.waitForOutput("ready")

        let table = try daemon.agentd("ps")
        let rows = table.text.split(separator: "\n")
        #expect(rows.count == 2)
        let id = try daemon.record().id
        for word in [id, "site", "command", try Repositories.url("plain")] {
          #expect(rows.last?.contains(word) == true)
        }
        let sessions = try JSON(parsing: try daemon.agentd("ps", "--json").text).elements
        #expect(sessions.count == 1)
        let session = try #require(sessions.first)
        #expect(session["session_id"]?.string == id)
        #expect(session["profile"]?.string == "site")
        #expect(session["phase"]?.string == "command")
        #expect(session["age_ms"]?.integer.map { $0 > 0 } == true)
        #expect(try session["repository"]?.string == Repositories.url("plain"))

        gate.open()
        try daemon.end(of: client)
        #expect(try JSON(parsing: try daemon.agentd("ps", "--json").text) == .array([]))
      }
    }

    @Test("--json prints one object and nothing of the session's output")
    func json() throws {
      try withDaemon(.shell("echo noise; kill -9 $$")) { daemon in
        let run = try daemon.agentd("run", "site", "--json")
        #expect(run.status == .exited(137))
        let json = try JSON(parsing: run.text)
        #expect(
          json.keys == [
            "session_id", "profile", "outcome", "exit_code", "signal", "duration_ms", "record",
          ])
        let record = try daemon.record()
        #expect(json["session_id"]?.string == record.id)
        #expect(json["profile"]?.string == "site")
        #expect(json["outcome"]?.string == "terminated_by_signal")
        #expect(json["exit_code"]?.integer == 137)
        #expect(json["signal"]?.integer == 9)
        #expect(json["duration_ms"]?.integer.map { $0 > 0 } == true)
        #expect(json["record"]?.string == record.path)
        #expect(record.console.contains("noise"))
      }
    }
  }

  @Suite("The command line")
  struct CommandLineTests {
    @Test("takes --config before and after the verb")
    func configPlace() throws {
      try withDaemon(.shell("true")) { daemon in
        for words in [["ps", "--config", daemon.config], ["--config", daemon.config, "ps"]] {
          let program = try daemon.spawn(words)
          #expect(try program.wait() == .exited(0), "\(program.errors.text)")
        }
      }
    }

    @Test("`agentd check` sums up what the daemon would run")
    func check() throws {
      try withDaemon(.shell("true"), starting: false) { daemon in
        let check = try daemon.agentd("check")
        #expect(check.status == .exited(0))
        for word in ["site", daemon.socket, "\(daemon.home)/audit", try Host.image()] {
          #expect(check.text.contains(word), "\(word)")
        }
      }
    }

    @Test("prints its version, its help, and completions for the shells")
    func help() throws {
      try withDaemon(.shell("true"), starting: false) { daemon in
        let version = try daemon.spawn(["--version"])
        #expect(try version.wait() == .exited(0))
        #expect(version.output.text.contains("0."))
        let help = try daemon.spawn(["--help"])
        #expect(try help.wait() == .exited(0))
        for verb in ["daemon", "run", "ps", "show", "wait", "logs", "stop", "schedule", "check", "ping"] {
          #expect(help.output.text.contains(verb))
        }
        for shell in ["bash", "zsh", "fish"] {
          let script = try daemon.spawn(["--generate-completion-script", shell])
          #expect(try script.wait() == .exited(0))
          #expect(script.output.text.contains("agentd"))
        }
      }
    }

    @Test("pretty logs are for people, and the level is as set")
    func logFormat() throws {
      let environment = ["AGENTD_LOG_FORMAT": "pretty", "AGENTD_LOG": "debug"]
      try withDaemon(.shell("true"), environment: environment, starting: false) { daemon in
        let program = try daemon.spawn()
        try waitUntil(
          "the start in the log", files: [program.errors.path], alive: program, seen: { program.errors.tail }
        ) { program.errors.text.contains(" agentd.daemon_started ") ? () : nil }
        let run = try daemon.agentd("run", "site")
        #expect(run.status == .exited(0))
        #expect(program.errors.text.contains("DEBUG"))
        #expect(!program.errors.text.contains("{\""))
      }
    }

    @Test(
      "every line of the daemon's log is JSON with time, level and event, and repeats the work unit safely")
    func logLines() throws {
      try withDaemon(.shell("exit 1"), environment: ["AGENTD_LOG": "trace"]) { daemon in
        _ = try daemon.agentd("run", "site", "--work-unit", "a \"quoted\" {unit}")
        _ = try daemon.agentd("run", "nobody")
        #expect(try daemon.stop() == .exited(0))
        let lines = try #require(daemon.program).errors.lines
        #expect(lines.count > 5)
        for line in lines {
          let json = try JSON(parsing: line)
          for key in ["timestamp", "level", "event"] { #expect(json[key]?.string != nil) }
        }
      }
    }
  }
}
