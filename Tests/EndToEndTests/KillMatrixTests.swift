// The daemon is killed between any two steps of a session: the next one loses, leaks and repeats nothing.

import Glibc
import Reactor
import Testing

/// What must be found after a restart when the daemon was killed at a step.
struct KilledStep: CustomTestStringConvertible, Sendable {
  /// Which of its ends a session was brought to, with the lines that its command wrote then.
  struct End: Sendable, Equatable {
    /// As `agentd.session_recovered` says it; nil when there was nothing to recover.
    let how: String?
    let lines: Int
  }

  let step: String
  /// Whether the session ends before the kill.
  var endsBefore = false
  let allowed: [End]

  var testDescription: String { step }

  private static let interrupted = End(how: "interrupted", lines: 0)
  private static let finished = End(how: "finished", lines: 1)

  static let all: [KilledStep] = [
    KilledStep(step: "intake", allowed: [End(how: nil, lines: 0)]),
    KilledStep(step: "prepared", allowed: [interrupted]),
    KilledStep(step: "fetched", allowed: [interrupted]),
    KilledStep(step: "launching", allowed: [interrupted]),
    // At a moment of podman's work that is another one for each daemon. Should it be done by then, so is the release.
    KilledStep(step: "mid-launch", allowed: [interrupted, End(how: "goes_on", lines: 1)]),
    KilledStep(step: "launched", allowed: [interrupted]),
    KilledStep(step: "watched", allowed: [interrupted]),
    KilledStep(step: "released-facts", allowed: [interrupted]),
    // What was written into a FIFO that the container had not opened yet went with the daemon.
    KilledStep(step: "released", allowed: [End(how: "goes_on", lines: 1), interrupted]),
    KilledStep(step: "command", allowed: [End(how: "goes_on", lines: 1)]),
    KilledStep(step: "exited", endsBefore: true, allowed: [finished]),
    KilledStep(step: "ended", endsBefore: true, allowed: [finished]),
    KilledStep(step: "removed", endsBefore: true, allowed: [finished]),
    KilledStep(step: "sealed", endsBefore: true, allowed: [finished]),
    KilledStep(step: "published", endsBefore: true, allowed: [finished]),
    KilledStep(step: "directory-removed", endsBefore: true, allowed: [End(how: nil, lines: 1)]),
    KilledStep(step: "answered", endsBefore: true, allowed: [End(how: nil, lines: 1)]),
  ]
}

/// A gate whose directory also holds the file that the session's command adds a line to.
final class CountingGate {
  let gate: Gate
  var file: String { "\(gate.directory)/ran" }
  var lines: Int { readText(file).split(separator: "\n").count }

  init() throws {
    gate = try Gate()
    try writeFile(file, "", mode: 0o666)
  }

  deinit { unlink(file) }

  /// Ends with 3, which is `blocked`, so that no default can be taken for it.
  /// What it leaves in its record belongs to a sub-uid under rootless podman.
  var profile: Profile {
    .gated(gate, "echo ran >>/gate/ran; echo left >.runa/left; echo ready; read word </gate/gate; exit 3")
  }
}

extension EndToEnd {
  @Suite("A daemon that is killed")
  struct KillMatrixTests {
    /// How many daemons are killed at each step: 10 as root; one for an ordinary user, whose podman is slower, and one on
    /// epoll, as nothing of this depends on the backend.
    private static let count =
      geteuid() == 0 && getenv("AGENTD_REACTOR").map { String(cString: $0) } != "epoll" ? 10 : 1

    @Test(
      "between any two steps of a session is followed by one that loses, leaks and repeats nothing",
      arguments: KilledStep.all)
    func matrix(_ killed: KilledStep) throws {
      let gates = try (0..<Self.count).map { _ in try CountingGate() }
      try withDaemons(gates.map(\.profile)) { daemons in
        // All of them at once at each stage, because most of it is waiting for podman.
        for (index, daemon) in daemons.enumerated() {
          daemon.killAt(killed.step == "mid-launch" ? "mid-launch+\(index * 6)" : killed.step)
          try daemon.launch()
          if killed.endsBefore { gates[index].gate.open() }
        }
        for daemon in daemons {
          try daemon.waitForStart()
          _ = try daemon.begin("run", "site", "--detach")
        }
        for daemon in daemons {
          let end = try daemon.wait()
          #expect(end == .signaled(SIGKILL))
          daemon.killAt(nil)
        }
        let before = try daemons.map { try runningInit(of: $0) }
        for daemon in daemons { try daemon.launch() }
        for (index, daemon) in daemons.enumerated() {
          try daemon.waitForStart()
          try examineRecovery(of: daemon, gates[index], killed, pid: before[index])
        }
        for (index, daemon) in daemons.enumerated() { try examineEnd(of: daemon, gates[index], killed) }
        for daemon in daemons { daemon.program?.signal(SIGTERM) }
        for daemon in daemons {
          let status = try daemon.wait()
          #expect(status == .exited(0))
          #expect(daemon.runtimeFiles() == [])
          #expect(daemon.clones() == [])
        }
      }
    }

    /// The process id of the init of the daemon's only container, when it runs.
    private func runningInit(of daemon: Daemon) throws -> String? {
      guard let name = try daemon.containers().first else { return nil }
      let words = try Host.podman("inspect", "--format", "{{.State.Status}} {{.State.Pid}}", name)
        .split(whereSeparator: \.isWhitespace)
      return words.first == "running" ? words.last.map(String.init) : nil
    }

    private func recovered(by daemon: Daemon) -> LogLine? {
      let events = daemon.log().filter { $0.event == "agentd.session_recovered" }
      #expect(events.count <= 1)
      return events.first
    }

    /// A session that goes on is in its old container, is listed, and is let come to its end.
    private func examineRecovery(
      of daemon: Daemon, _ gate: CountingGate, _ killed: KilledStep, pid: String?
    ) throws {
      guard let event = recovered(by: daemon), event.json["how"]?.string == "goes_on",
        killed.allowed.contains(.init(how: "goes_on", lines: 1))
      else { return }
      let now = try runningInit(of: daemon)
      #expect(now == pid)
      let list = try daemon.agentd("ps")
      #expect(list.text.contains(event.session ?? "?"))
      gate.gate.open()
    }

    private func examineEnd(of daemon: Daemon, _ gate: CountingGate, _ killed: KilledStep) throws {
      let event = recovered(by: daemon)
      if let session = event?.session { try daemon.waitFor("runner.session_teardown", session: session) }
      let end = KilledStep.End(how: event?.json["how"]?.string, lines: gate.lines)
      #expect(killed.allowed.contains(end), "\(end)")
      if killed.step == "intake" {
        #expect(daemon.records().map(\.id) == [])
      } else {
        try examine(try daemon.record(), ranToItsEnd: end.lines == 1)
      }
      #expect(try daemon.containers() == [])
      #expect(daemon.strays() == [])
      let instance = try #require(daemon.instance)
      #expect(entries(of: "\(daemon.runtimeDirectory)/\(instance)") == [])
    }

    private func examine(_ record: Record, ranToItsEnd: Bool) throws {
      let json = try record.json()
      #expect(json["outcome"]?.string == (ranToItsEnd ? "blocked" : "error"))
      #expect(json["exit_code"]?.integer == (ranToItsEnd ? 3 : nil))
      #expect((json["error"] == nil) == ranToItsEnd)
      #expect(json["end_timestamp"] != nil)
      #expect(record.runaText("left") == (ranToItsEnd ? "left\n" : ""))
      #expect(record.unsealed() == [])
    }
  }
}
