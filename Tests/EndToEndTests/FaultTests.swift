// What agentd stands on fails below a session: conmon, podman, the disk, the process's limits.

import Glibc
import Reactor
import func TestSupport.writeProgram
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
        try daemon.launch()
        _ = try waitForError(of: daemon)
        try daemon.waitForStart()
        try daemon.waitFor("runner.session_teardown")
        try expectInterrupted(daemon, "conmon")
      }
    }

    @Test("because conmon was killed before its release ends with error, and its command never runs")
    func conmonKilledBeforeRelease() throws {
      let gate = try CountingGate()
      try withDaemon(gate.profile, starting: false) { daemon in
        let trap = try PodmanTrap(
          in: daemon,
          """
          if [ "$1" = run ]; then
            "$real" "$@" || exit
            while [ "$1" != --conmon-pidfile ]; do shift; done
            kill -KILL "$(cat "$2")"
            : >"$harm"
            exit 0
          fi
          """)
        try daemon.start()
        let client = try daemon.begin("run", "site")
        try trap.waitForHarm(to: daemon)
        _ = try waitForError(of: daemon)
        #expect(try daemon.end(of: client).status == .exited(1))
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

    @Test("because its image was removed in between ends with error, and podman is asked anew for the next")
    func imageRemoved() throws {
      let gate = try CountingGate()
      // An image of its own: another name of the base image would have its id, which is what sessions start from.
      let image = "localhost/agentd-passing:\(getpid())"
      try makeImage(image)
      defer { _ = try? Host.podman("rmi", "--force", "--ignore", image) }
      var profile = gate.profile
      profile.image = image
      try withDaemon(profile, starting: false) { daemon in
        let trap = try PodmanTrap(
          in: daemon,
          """
          if [ "$1" = run ]; then
            "$real" rmi --force --ignore \(image) >/dev/null || exit
            : >"$harm"
          fi
          """)
        try daemon.start()
        let client = try daemon.begin("run", "site")
        try trap.waitForHarm(to: daemon)
        _ = try waitForError(of: daemon)
        #expect(try daemon.end(of: client).status == .exited(1))
        try expectInterrupted(daemon, "The image \(image) was removed while the session began: run it again.")
        #expect(gate.lines == 0)
        // What its name meant is forgotten, whatever becomes of the store.
        try makeImage(image)
        try unlinkTrap(of: daemon)
        gate.gate.open()
        #expect(try daemon.agentd("run", "site").status == .exited(0))
      }
    }

    private func makeImage(_ name: String) throws {
      let container = try Host.podman("create", try Host.image(), "true").prefix { $0 != "\n" }
      defer { _ = try? Host.podman("rm", String(container)) }
      try Host.podman("commit", "--quiet", String(container), name)
    }

    private func unlinkTrap(of daemon: Daemon) throws {
      guard unlink("\(daemon.home)/bin/podman") == 0 else { throw Failure("unlink: errno \(errno)") }
      guard symlink(try Host.find("podman"), "\(daemon.home)/bin/podman") == 0 else {
        throw Failure("symlink: errno \(errno)")
      }
    }

    @Test("because the FIFO that it is released through was removed ends with error, in podman's words")
    func fifoRemoved() throws {
      let gate = try CountingGate()
      try withDaemon(gate.profile, starting: false) { daemon in
        let trap = try PodmanTrap(
          in: daemon,
          """
          if [ "$1" = run ]; then
            (while [ "$1" != --conmon-pidfile ]; do shift; done; rm "$(dirname "$2")/envelope")
            : >"$harm"
          fi
          """)
        try daemon.start()
        let client = try daemon.begin("run", "site")
        try trap.waitForHarm(to: daemon)
        _ = try waitForError(of: daemon)
        #expect(try daemon.end(of: client).status == .exited(1))
        try expectInterrupted(daemon, "/envelope")
        #expect(gate.lines == 0)
      }
    }

    /// Shell that ends what reads the FIFO in a container, as soon as podman has started it.
    private static let readerKiller = """
      if [ "$1" = run ]; then
        "$real" "$@" || exit
        while [ "$1" != --pidfile ]; do shift; done
        init=$(cat "$2")
        # The init starts it a moment later.
        until children=$(cat "/proc/$init/task/$init/children") && [ -n "$children" ]; do :; done
        kill -KILL $children
        : >"$harm"
        exit 0
      fi
      """

    @Test("because what reads its FIFO was killed before its release never runs its command")
    func readerKilled() throws {
      let gate = try CountingGate()
      try withDaemon(gate.profile, starting: false) { daemon in
        let trap = try PodmanTrap(in: daemon, Self.readerKiller)
        try daemon.start()
        let client = try daemon.begin("run", "site")
        try trap.waitForHarm(to: daemon)
        try waitForSetupFailure(of: daemon)
        #expect(try daemon.end(of: client).status == .exited(6))
        #expect(gate.lines == 0)
        #expect(try daemon.containers() == [])
        #expect(daemon.strays() == [])
      }
    }

    @Test("because what reads its FIFO was killed in the middle of a large envelope never runs its command")
    func readerKilledMidway() throws {
      let gate = try CountingGate()
      let server = try SilentServer()
      var profile = gate.profile
      profile.repository = server.url
      profile.repositoryCache = false
      // Most of it still waits in the daemon while the clone hangs.
      let (names, secrets) = Self.largeCredentials
      profile.credentials = names.map { ($0, $0) }
      try withDaemon(profile, environment: secrets) { daemon in
        let client = try daemon.begin("run", "site")
        try server.waitForClient(of: daemon)
        let session = try daemon.record().id
        let instance = try #require(daemon.instance)
        let text = readText("\(daemon.runtimeDirectory)/\(instance)/\(session)/container.pid")
        let pid = try #require(Int32(text.prefix { $0.isNumber }))
        for child in readText("/proc/\(pid)/task/\(pid)/children").split(separator: " ") {
          #expect(kill(try #require(Int32(child)), SIGKILL) == 0)
        }
        try waitForSetupFailure(of: daemon)
        #expect(try daemon.end(of: client).status == .exited(6))
        #expect(gate.lines == 0)
        #expect(try daemon.containers() == [])
        #expect(daemon.strays() == [])
        #expect(try daemon.agentd("ps", "--json").text == "[]\n")
      }
    }

    @Test("because the daemon was killed in the middle of a large envelope ends with error")
    func daemonKilledMidway() throws {
      let gate = try CountingGate()
      var profile = gate.profile
      let (names, secrets) = Self.largeCredentials
      profile.credentials = names.map { ($0, $0) }
      try withDaemon(profile, environment: secrets) { daemon in
        let session = String(try daemon.agentd("run", "site", "--detach").text.dropLast())
        let instance = try #require(daemon.instance)
        let report = "\(daemon.runtimeDirectory)/\(instance)/\(session).report"
        // From here on the container reads the credentials, byte by byte, as a shell does.
        try waitUntil("the command", files: [report], seen: { daemon.report() }) {
          readText(report).hasSuffix("command\n") ? true : nil
        }
        daemon.program?.signal(SIGKILL)
        _ = try daemon.wait()
        try daemon.start()
        try daemon.waitFor("runner.session_teardown")
        try expectInterrupted(daemon, "The daemon ended before it had handed the session over")
        #expect(gate.lines == 0)
      }
    }

    /// More than a pipe holds, each byte being five there.
    private static var largeCredentials: (names: [String], environment: [String: String]) {
      let names = (0..<8).map { "LARGE_\($0)" }
      let value = String(repeating: " ", count: 100_000)
      return (names, Dictionary(uniqueKeysWithValues: names.map { ($0, value) }))
    }

    private func waitForSetupFailure(of daemon: Daemon) throws {
      let log = try #require(daemon.program).errors.path
      let line = try waitUntil(
        "the outcome of a session", files: [log], within: Self.outcomeBound, seen: { daemon.report() }
      ) { daemon.log().first { $0.event == "runner.session_outcome" } }
      #expect(line.json["outcome"]?.string == "infrastructure_failure")
      #expect(line.json["reason"]?.string?.isEmpty == false)
    }

    @Test("because its disk is full keeps its outcome, and the next start with room completes its record")
    func fullDisk() throws {
      let disk = try SmallDisk()
      try withDaemon(.shell("head -c 3000000 /dev/zero | tr '\\0' x; exit 3"), starting: false) { daemon in
        try daemon.placeAudit(at: disk.path)
        try daemon.start()
        let run = try daemon.agentd("run", "site")
        // The outcome is true and told, with what is wrong beside it.
        #expect(run.status == .exited(0))
        #expect(run.errors.contains("No space left on device"))
        let outcome = try #require(daemon.log().first { $0.event == "runner.session_outcome" })
        #expect(outcome.json["outcome"]?.string == "blocked")
        let failures = daemon.log().filter { $0.event == "runner.lifecycle_failure" }
        #expect(failures.contains { $0.json["reason"]?.string?.contains("No space left on device") == true })
        #expect(try daemon.record().json()["outcome"] == nil)
        #expect(try daemon.containers() == [])
        // Nothing new begins, and nothing is left of what did not.
        let refused = try daemon.agentd("run", "site")
        #expect(refused.status == .exited(1))
        #expect(refused.errors.contains("No space left on device"))
        #expect(daemon.records().count == 1)

        try disk.makeRoom()
        #expect(try daemon.stop() == .exited(0))
        try daemon.start()
        let record = try daemon.record()
        #expect(try record.json()["outcome"]?.string == "blocked")
        #expect(record.unsealed() == [])
        #expect(daemon.runtimeFiles().filter { $0.contains("/") } == [])
      }
    }
  }
}

/// A file system of a megabyte that Tests/run.sh has made, of which a filler leaves little.
private final class SmallDisk {
  let path: String
  private let filler: String

  init() throws {
    guard let disk = Host.environment["AGENTD_TEST_SMALL_DISK"], !disk.isEmpty else {
      throw Failure("AGENTD_TEST_SMALL_DISK names no disk: run these tests by Tests/run.sh, which makes one")
    }
    path = "\(disk)/\(getpid())"
    filler = "\(path)/filler"
    try makeDirectory(path)
    try writeFile(filler, String(repeating: "x", count: 400_000))
  }

  // The next test, and the next backend, want the room.
  deinit { _ = try? Host.removeTree(path) }

  func makeRoom() throws {
    guard unlink(filler) == 0 else { throw Failure("unlink: errno \(errno)") }
  }
}

/// A `podman` that does something else in a test's stead of the real one, or before it.
private struct PodmanTrap {
  private let directory: String
  private var harm: String { "\(directory)/harm" }

  /// - Parameter body: shell; `$real` is podman, `$here` a directory, and `$harm` a file to be made when the fault is there.
  ///   Where it ends without an exit, podman runs.
  @discardableResult
  init(in daemon: Daemon, _ body: String) throws {
    directory = "\(daemon.home)/bin"
    try makeDirectory(directory)
    try writeProgram(
      """
      #!/bin/sh
      real="\(try Host.find("podman"))"
      here="\(directory)"
      harm="\(harm)"
      \(body)
      exec "$real" "$@"

      """, to: "\(directory)/podman")
    daemon.prependToPath(directory)
  }

  /// Returns when the fault is there: what has to follow it within a bound is timed from then on.
  func waitForHarm(to daemon: Daemon) throws {
    try waitUntil("the fault", files: [directory], seen: { daemon.report() }) {
      status(of: harm) == nil ? nil : true
    }
  }
}
