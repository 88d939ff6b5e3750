// What agentd stands on fails below a session: conmon, podman, the disk, the process's limits.

import Glibc
import Reactor
import Testing

extension EndToEnd {
  @Suite("A session whose ground gives way")
  struct FaultTests {
    /// How long an outcome may take after a fault, by the requirement that these tests show.
    private static let outcomeBound: Duration = .seconds(5)

    /// Returns when the session's outcome is logged, which must be within the bound.
    private func waitForError(of daemon: Daemon, count: Int = 1) throws -> LogLine {
      let log = try #require(daemon.program).errors.path
      return try waitUntil(
        "the outcome of a session", files: [log], within: Self.outcomeBound, seen: { daemon.report() }
      ) {
        let lines = daemon.log().filter { $0.event == "runner.session_error" }
        return lines.count >= count ? lines.last : nil
      }
    }

    private func killConmon(of daemon: Daemon) throws {
      let session = try daemon.record().id
      let instance = try #require(daemon.instance)
      let path = "\(daemon.runtimeDirectory)/\(instance)/\(session)/conmon.pid"
      let pid = try #require(Int32(readText(path)))
      #expect(kill(pid, SIGKILL) == 0)
    }

    /// Nothing is left of the session but its sealed record, and the daemon runs the next one.
    private func expectInterrupted(_ daemon: Daemon, _ reason: String) throws {
      let record = try daemon.record()
      let json = try record.json()
      #expect(json["outcome"]?.string == "error")
      #expect(json["error"]?.string?.contains(reason) == true)
      #expect(record.console.contains(reason))
      #expect(record.unsealed() == [])
      #expect(try daemon.containers() == [])
      #expect(daemon.strays() == [])
    }

    @Test(
      "because conmon was killed ends with error, whether its command prints or waits",
      arguments: [
        "echo ready; read word </gate/gate", "echo ready; while :; do echo more; done",
        "trap '' PIPE; echo ready; while :; do echo more; done",
      ])
    func conmonKilled(_ script: String) throws {
      let gate = try Gate()
      try withDaemon(.gated(gate, script)) { daemon in
        let client = try daemon.begin("run", "site")
        try client.waitForOutput("ready")
        try killConmon(of: daemon)
        _ = try waitForError(of: daemon)
        #expect(try daemon.end(of: client).status == .exited(1))
        try expectInterrupted(daemon, "conmon")
      }
    }

    @Test("because conmon was killed while no daemon watched ends with error at the next start")
    func conmonKilledUnwatched() throws {
      let gate = try Gate()
      try withDaemon(.gated(gate)) { daemon in
        try daemon.begin("run", "site").waitForOutput("ready")
        daemon.program?.signal(SIGKILL)
        _ = try daemon.wait()
        try killConmon(of: daemon)
        try daemon.start()
        try daemon.waitFor("runner.session_teardown")
        try expectInterrupted(daemon, "conmon")
      }
    }

    @Test("because conmon was killed before its release ends with error, and its command never runs")
    func conmonKilledBeforeRelease() throws {
      let gate = try CountingGate()
      try withDaemon(gate.profile, starting: false) { daemon in
        try PodmanTrap(
          in: daemon,
          """
          if [ "$1" = run ]; then
            "$real" "$@" || exit
            while [ "$1" != --conmon-pidfile ]; do shift; done
            kill -KILL "$(cat "$2")"
            exit 0
          fi
          """)
        try daemon.start()
        #expect(try daemon.agentd("run", "site").status == .exited(1))
        try expectInterrupted(daemon, "conmon")
        #expect(gate.lines == 0)
      }
    }

    @Test("because podman was killed in the middle of its launch leaves no container and no process")
    func podmanKilled() throws {
      let gate = try CountingGate()
      try withDaemon(gate.profile, starting: false) { daemon in
        // When conmon is there, the container is being made.
        try PodmanTrap(
          in: daemon,
          """
          if [ "$1" = run ] && [ ! -e "$here/trapped" ]; then
            : >"$here/trapped"
            "$real" "$@" &
            while [ "$1" != --conmon-pidfile ]; do shift; done
            until [ -s "$2" ]; do :; done
            kill -KILL $!
            kill -KILL $$
          fi
          """)
        try daemon.start()
        #expect(try daemon.agentd("run", "site").status == .exited(1))
        try expectInterrupted(daemon, "podman run ended with signal 9")
        #expect(gate.lines == 0)
        gate.gate.open()
        #expect(try daemon.agentd("run", "site").status == .exited(0))
      }
    }
  }
}

/// A `podman` that does something else in a test's stead of the real one, or before it.
private struct PodmanTrap {
  /// - Parameter body: shell; `$real` is podman and `$here` a directory. Where it ends without an exit, podman runs.
  @discardableResult
  init(in daemon: Daemon, _ body: String) throws {
    let directory = "\(daemon.home)/bin"
    try makeDirectory(directory)
    try writeFile(
      "\(directory)/podman",
      """
      #!/bin/sh
      real="\(try Host.find("podman"))"
      here="\(directory)"
      \(body)
      exec "$real" "$@"

      """, mode: 0o755)
    daemon.prependToPath(directory)
  }
}
