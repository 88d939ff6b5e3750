// The daemon's own life: claiming, starting, draining, stopping.

import Glibc
import Reactor
import Testing

extension EndToEnd {
  @Suite("The daemon's end")
  struct DrainTests {
    @Test("SIGTERM lets a running session finish, its client gets the outcome, new ones are turned away")
    func drain() throws {
      let gate = try Gate()
      try withDaemon(.gated(gate)) { daemon in
        let client = try daemon.begin("run", "site")
        try client.waitForOutput("ready")
        daemon.program?.signal(SIGTERM)
        try daemon.waitFor("agentd.draining")
        #expect(try daemon.agentd("run", "site").status == .exited(69))
        #expect(!(daemon.program?.hasEnded ?? true))
        gate.open("finished")
        let run = try daemon.end(of: client)
        #expect(run.status == .exited(0))
        #expect(run.text == "ready\nfinished\n")
        #expect(try daemon.wait() == .exited(0))
        #expect(try daemon.record().json()["outcome"]?.string == "success")
        #expect(daemon.log().last?.event == "agentd.daemon_stopped")
        #expect(daemon.runtimeFiles() == [])
        #expect(try daemon.containers() == [])
      }
    }

    @Test("Ctrl-C of a client still stops its session while the daemon drains")
    func interruptWhileDraining() throws {
      let gate = try Gate()
      let script = "trap 'echo told; exit 4' TERM; echo ready; read word </gate/gate"
      try withDaemon(.gated(gate, script)) { daemon in
        let client = try daemon.begin("run", "site")
        try client.waitForOutput("ready")
        daemon.program?.signal(SIGTERM)
        try daemon.waitFor("agentd.draining")
        client.signal(SIGINT)
        let run = try daemon.end(of: client)
        #expect(run.status == .exited(0))
        #expect(run.text == "ready\ntold\n")
        let status = try daemon.wait()
        #expect(status == .exited(0))
      }
    }

    @Test("SIGINT and SIGTERM end an idle daemon with exit code 0", arguments: [SIGINT, SIGTERM])
    func idle(_ signal: Int32) throws {
      try withDaemon(.shell("true")) { daemon in
        daemon.program?.signal(signal)
        let status = try daemon.wait()
        #expect(status == .exited(0))
        #expect(daemon.log().last?.event == "agentd.daemon_stopped")
        #expect(daemon.runtimeFiles() == [])
      }
    }

    @Test(
      "a second signal ends it at once and leaves the session to run on, for the next daemon to go on with")
    func secondSignal() throws {
      let gate = try Gate()
      try withDaemon(.gated(gate)) { daemon in
        let client = try daemon.begin("run", "site", "--wait-for-daemon", "0s")
        try client.waitForOutput("ready")
        daemon.program?.signal(SIGTERM)
        try daemon.waitFor("agentd.draining")
        daemon.program?.signal(SIGTERM)
        #expect(try daemon.wait() != .exited(0))
        let run = try daemon.end(of: client)
        #expect(run.status == .exited(69))
        #expect(run.lastLine.hasSuffix("`agentd wait \(try daemon.record().id)` tells how it ends."))
        let containers = try daemon.containers()
        #expect(containers.count == 1)
        let state = try Host.run("podman", ["inspect", "--format", "{{.State.Status}}"] + containers)
        #expect(state == "running\n")
        #expect(try daemon.record().json()["outcome"] == nil)
        try daemon.start()
        gate.open("finished")
        try daemon.waitFor("runner.session_teardown")
        #expect(try daemon.record().json()["outcome"]?.string == "success")
        #expect(try daemon.record().console.contains("finished"))
        #expect(try daemon.containers() == [])
      }
    }
  }

  @Suite("The daemon's start")
  struct StartTests {
    @Test("a second daemon on the same configuration is refused and told the pid of the first")
    func secondDaemon() throws {
      try withDaemon(.shell("echo still here")) { daemon in
        let second = try daemon.spawn()
        let status = try second.wait()
        #expect(status == .exited(1))
        #expect(second.errors.text.contains("pid \(daemon.pid)"))
        let run = try daemon.agentd("run", "site")
        #expect(run.text == "still here\n")
      }
    }

    @Test("its socket and directory are for its user only, and `agentd` alone is `agentd daemon`")
    func socket() throws {
      try withDaemon(.shell("echo served"), starting: false) { daemon in
        try daemon.start(["--config", daemon.config])
        let socket = try #require(status(of: daemon.socket))
        #expect(socket.isSocket)
        #expect(socket.permissions == 0o600)
        #expect(status(of: daemon.runtimeDirectory)?.permissions == 0o700)
        #expect(readText("\(daemon.runtimeDirectory)/agentd.pid") == "\(daemon.pid)\n")
        let run = try daemon.agentd("run", "site")
        #expect(run.text == "served\n")
      }
    }

    @Test("another user who gets at the socket all the same is turned away with a sentence")
    func otherUser() throws {
      try withDaemon(.shell("true")) { daemon in
        for path in [Ground.runtime, daemon.runtimeDirectory] { chmod(path, 0o755) }
        chmod(daemon.socket, 0o666)
        let script = """
          socket(S, PF_UNIX, SOCK_STREAM, 0) && connect(S, pack_sockaddr_un($ARGV[0])) or die "connect: $!";
          print while <S>
          """
        let isRoot = geteuid() == 0
        // An ordinary user has other users at hand in the user namespace of podman.
        let user = isRoot ? "65534" : "1"
        let words = [
          "--reuid=\(user)", "--regid=\(user)", "--clear-groups", "perl", "-MSocket", "-e", script,
        ]
        let answer =
          isRoot
          ? try Host.run("setpriv", words + [daemon.socket])
          : try Host.run("podman", ["unshare", "setpriv"] + words + [daemon.socket])
        #expect(answer.contains("refused"))
        #expect(answer.contains("own user and root"))
        chmod(Ground.directory, 0o700)
        let event = try daemon.waitFor("agentd.client_refused")
        #expect(event.count == 1)
      }
    }

    @Test("a socket that a killed daemon left is replaced")
    func staleSocket() throws {
      try withDaemon(.shell("echo served")) { daemon in
        daemon.program?.signal(SIGKILL)
        #expect(try daemon.wait() == .signaled(SIGKILL))
        #expect(status(of: daemon.socket)?.isSocket == true)
        try daemon.start()
        let run = try daemon.agentd("run", "site")
        #expect(run.text == "served\n")
      }
    }

    @Test("any other file at the socket's path is left alone and refused")
    func fileAtSocketPath() throws {
      try withDaemon(.shell("true"), starting: false) { daemon in
        try makeDirectory(daemon.runtimeDirectory, mode: 0o700)
        try writeFile(daemon.socket, "precious")
        let program = try daemon.spawn()
        #expect(try program.wait() == .exited(1))
        #expect(program.errors.text.contains(daemon.socket))
        #expect(readText(daemon.socket) == "precious")
      }
    }

    @Test("a directory that others may write to is refused")
    func openDirectory() throws {
      try withDaemon(.shell("true"), starting: false) { daemon in
        try makeDirectory(daemon.runtimeDirectory, mode: 0o777)
        let program = try daemon.spawn()
        #expect(try program.wait() == .exited(1))
        #expect(program.errors.text.contains(daemon.runtimeDirectory))
      }
    }

    @Test("an audit root that is no directory is refused before anything listens")
    func auditRoot() throws {
      try withDaemon(.shell("true"), starting: false) { daemon in
        try writeFile("\(daemon.home)/audit", "a file")
        let program = try daemon.spawn()
        #expect(try program.wait() == .exited(1))
        #expect(program.errors.text.contains("\(daemon.home)/audit"))
        #expect(daemon.runtimeFiles() == [])
        unlink("\(daemon.home)/audit")
      }
    }

    @Test("a configuration with mistakes is refused with all of them")
    func mistakes() throws {
      try withDaemon(.shell("true"), starting: false) { daemon in
        try writeFile(daemon.config, "[[profiles]]\nname = \"Root\"\ncolour = 1\ncommand = []\n")
        for words in [["daemon", "--config", daemon.config], ["check", "--config", daemon.config]] {
          let program = try daemon.spawn(words)
          #expect(try program.wait() == .exited(1))
          for word in ["name", "colour", "command", "base_image", "methodology_dir", daemon.config] {
            #expect(program.errors.text.contains(word) || program.output.text.contains(word))
          }
        }
      }
    }

    @Test(
      "sessions of a killed daemon that live go on, those that died are finished, what is not its own stays")
    func recovery() throws {
      let gate = try Gate()
      try withDaemon(.gated(gate)) { daemon in
        // Two sessions, left behind by a daemon that was killed; one of their containers has ended since.
        let clients = try (0..<2).map { _ in try daemon.begin("run", "site") }
        for client in clients { try client.waitForOutput("ready") }
        daemon.program?.signal(SIGKILL)
        _ = try daemon.wait()
        let instance = try #require(daemon.instance)
        let sessions = try daemon.containers().sorted()
        #expect(sessions.count == 2)
        let (dead, live) = (sessions[0], sessions[1])
        try Host.podman("stop", "--time", "0", dead)

        // Containers that never ran: one of this instance, and some that only look like one.
        let never = "agentd-\(instance)-site-0123456789abcdef"
        let foreign = [
          "agentd-ffffffff-site-0123456789abcdef", "agentd-e2e-foreign-\(getpid())",
          "agentd-\(instance)-site-nothex", "x-agentd-\(instance)-site-0123456789abcdef",
        ]
        defer { _ = try? Host.run("podman", ["rm", "--force", "--ignore", "--time", "0"] + foreign) }
        for name in [never] + foreign {
          try Host.podman("create", "--pull=never", "--name", name, try Host.image(), "true")
        }
        try makeDirectory("\(daemon.runtimeDirectory)/\(instance)/keep-me")

        try daemon.start()
        let event = try daemon.waitFor("agentd.startup_reconciliation_completed")[0]
        #expect(event.json["removed_containers"]?.integer == 1)
        #expect(event.json["recovered_sessions"]?.integer == 2)
        let ended = try daemon.waitFor("runner.session_teardown", session: String(dead.suffix(16)))
        #expect(ended.count == 1)
        let names = Set(
          try Host.podman("ps", "--all", "--format", "{{.Names}}").split(separator: "\n").map(String.init))
        #expect(!names.contains(dead))
        #expect(!names.contains(never))
        #expect(names.contains(live))
        for name in foreign { #expect(names.contains(name)) }
        let record = try daemon.record(String(dead.suffix(16)))
        #expect(try record.json()["outcome"]?.string == "terminated_by_signal")
        #expect(record.unsealed() == [])
        let left = entries(of: "\(daemon.runtimeDirectory)/\(instance)")
        // Of the one that lives its directory and its report, of the dead one neither.
        let session = String(live.suffix(16))
        #expect(left == [session, "\(session).report", "journal", "keep-me"].sorted())

        let list = try daemon.agentd("ps")
        #expect(list.text.contains(live.suffix(16)))
        #expect(!list.text.contains(dead.suffix(16)))
        let stop = try daemon.agentd("stop", String(live.suffix(16)))
        #expect(stop.status == .exited(0))
        try daemon.waitFor("runner.session_teardown", session: String(live.suffix(16)))
        #expect(
          try daemon.record(String(live.suffix(16))).json()["outcome"]?.string == "terminated_by_signal")
        // Several removals at once are tasks, and none of them may have woken Swift's pool of threads.
        #expect(daemon.threads() == 2)
      }
    }
  }
}
