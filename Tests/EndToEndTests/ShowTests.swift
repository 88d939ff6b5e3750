// `agentd show` and `agentd ping`: what is known of a session, with a daemon and without, and whether one answers.

import Glibc
import Reactor
import Testing

extension EndToEnd {
  @Suite("Sessions that are looked at")
  struct ShowTests {
    @Test(
      "an ended session is shown from its record, with the daemon and without it, and its event has the same times"
    )
    func ended() throws {
      try withDaemon(.shell("exit 5")) { daemon in
        _ = try daemon.agentd("run", "site", "--work-unit", "issue 7")
        let record = try daemon.record()
        let json = try record.json()
        let event = try daemon.waitFor("runner.session_teardown")[0].json
        for _ in 0..<2 {
          let shown = try daemon.agentd("show", record.id)
          #expect(shown.status == .exited(0))
          #expect(shown.errors == "")
          let facts = [
            "session     \(record.id)", "profile     site", "repository  \(try Repositories.url("plain"))",
            "commit      \(try Repositories.head("plain"))", "work unit   issue 7",
            "image       \(try Host.image()) (\(try #require(json["image_digest"]?.string)))",
            "outcome     work_failed (exit code 5)",
            "start       \(try #require(json["start_timestamp"]?.string))",
          ]
          let lines = shown.text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
          #expect(Array(lines.prefix(facts.count)) == facts)
          #expect(lines[facts.count].hasPrefix("duration    "))
          #expect(lines[facts.count + 1] == "record      \(record.path)")
          #expect(lines[facts.count + 2] == "")
          let chart = lines[(facts.count + 3)...].filter { !$0.isEmpty }
          let phases = try #require(json["phases"]).elements.compactMap { $0["name"]?.string }
          #expect(chart.map { String($0.prefix { $0 != " " }) } == phases)
          for line in chart {
            #expect(line.count <= 80)
            #expect(line.hasSuffix("#"))
          }
          #expect(chart.map(\.count).max() == 80)

          let object = try JSON(parsing: try daemon.agentd("show", record.id, "--json").text)
          #expect(object.keys == json.keys.union(["record", "duration_ms", "phase_ms"]))
          for key in json.keys { #expect(object[key] == json[key]) }
          #expect(object["record"]?.string == record.path)
          let times = try #require(object["phase_ms"])
          #expect(times.keys == Set(phases))
          // Of the same moments, which are cut to milliseconds in the record.
          for phase in phases {
            let told = try #require(event["\(phase)_ms"]?.integer)
            #expect(abs(told - (times[phase]?.integer ?? -9)) <= 1)
          }
          if daemon.program?.hasEnded == false { _ = try daemon.stop() }
        }
      }
    }

    @Test(
      "a live session is shown as far as it has come; without its daemon as far as its record says, with 69")
    func live() throws {
      let gate = try Gate()
      try withDaemon(.gated(gate)) { daemon in
        let id = String(try daemon.agentd("run", "site", "--detach").text.dropLast())
        let follower = try daemon.begin("logs", "-f", id)
        try follower.waitForOutput("ready\n")
        let shown = try daemon.agentd("show", id)
        #expect(shown.status == .exited(0))
        #expect(shown.text.contains("outcome     none yet\n"))
        #expect(shown.text.contains("commit      \(try Repositories.head("plain"))\n"))
        #expect(shown.lastOutputLine.hasPrefix("command "))
        #expect(shown.lastOutputLine.hasSuffix("#"))
        let object = try JSON(parsing: try daemon.agentd("show", id, "--json").text)
        let phases = try #require(object["phases"]).elements
        #expect(phases.map { $0["end_timestamp"] == nil } == phases.indices.map { $0 == phases.count - 1 })
        #expect(object["outcome"] == nil)
        #expect(object["phase_ms"]?.keys == Set(phases.compactMap { $0["name"]?.string }))

        daemon.program?.signal(SIGKILL)
        _ = try daemon.wait()
        let alone = try daemon.agentd("show", id)
        #expect(alone.status == .exited(69))
        #expect(alone.text.contains("session     \(id)\n"))
        #expect(alone.text.contains("outcome     none\n"))
        // What listened may take a moment longer to go than the process.
        #expect(alone.errors.split(separator: "\n").count == 1)
        try daemon.start()
        #expect(try daemon.agentd("show", id).lastOutputLine.hasPrefix("command "))
        gate.open()
        #expect(try daemon.agentd("wait", id).status == .exited(0))
        let whole = try JSON(parsing: try daemon.agentd("show", id, "--json").text)
        #expect(
          whole["phases"]?.elements.map { $0["name"]?.string } == [
            "image", "fetch", "launch", "setup", "command", "teardown", "seal",
          ])
        try daemon.end(of: follower)
      }
    }

    @Test("a terminal gets bars in reverse video and lines of its width, with NO_COLOR plain ones")
    func terminal() throws {
      try withDaemon(.shell("true")) { daemon in
        _ = try daemon.agentd("run", "site")
        let id = try daemon.record().id
        func show(_ setting: String) throws -> String {
          let script = #"script -qec "stty cols 60; env $4 $1 show $2 --config $3" /dev/null </dev/null"#
          return try Host.run("bash", ["-c", script, "bash", Host.agentd, id, daemon.config, setting])
        }
        let coloured = try show("-u NO_COLOR")
        #expect(coloured.contains("\u{1b}[7m"))
        #expect(!coloured.contains("#"))
        let plain = try show("NO_COLOR=1")
        #expect(!plain.contains("\u{1b}"))
        let chart = plain.split(whereSeparator: \.isNewline).filter { $0.hasSuffix("#") }
        #expect(chart.map(\.count).max() == 60)
      }
    }

    @Test("ids that are none, and ids of no session, are told in one sentence, with a daemon and without")
    func strangers() throws {
      try withDaemon(.shell("true")) { daemon in
        for code in [Int32(1), 69] {
          for name in ["0123456789abcdef", "..", "", "\u{1b}[2J", String(repeating: "a", count: 5000)] {
            let ended = try daemon.agentd("show", name)
            #expect(ended.status == .exited(code), "\(name): \(ended.errors)")
            #expect(ended.errors.split(separator: "\n").count == 1)
            #expect(!ended.errors.contains("\u{1b}"))
            #expect(ended.text == "")
          }
          if code == 1 { #expect(try daemon.stop() == .exited(0)) }
        }
      }
    }

    @Test("`agentd ping` tells a daemon that answers from one that is stopped and from none")
    func ping() throws {
      try withDaemon(.shell("true")) { daemon in
        let answered = try daemon.agentd("ping")
        #expect(answered.status == .exited(0))
        #expect(answered.text + answered.errors == "")
        daemon.program?.signal(SIGSTOP)
        let stopped = try daemon.agentd("ping")
        #expect(stopped.status == .exited(69))
        #expect(stopped.errors.hasPrefix("agentd: The daemon took the connection and does not answer"))
        daemon.program?.signal(SIGCONT)
        #expect(try daemon.agentd("ping").status == .exited(0))
        #expect(try daemon.stop() == .exited(0))
        #expect(try daemon.agentd("ping").status == .exited(69))
      }
    }
  }
}

extension Ended {
  /// The last line on stdout.
  fileprivate var lastOutputLine: String { String(text.split(separator: "\n").last ?? "") }
}
