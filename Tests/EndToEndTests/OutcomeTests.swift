// What the end of a command or of its setup means: in the record and in the exit code of `agentd run`.

import Reactor
import Testing

/// How a command ends, and what that is to mean.
struct Ending: CustomTestStringConvertible, Sendable {
  let command: [String]
  let outcome: String
  /// The exit code in the record.
  let code: Int
  /// The exit code of `agentd run`.
  let exit: Int32

  init(_ script: String, _ outcome: String, code: Int, exit: Int32? = nil) {
    self.init(["/bin/sh", "-c", script], outcome, code: code, exit: exit)
  }

  init(_ command: [String], _ outcome: String, code: Int, exit: Int32? = nil) {
    self.command = command
    self.outcome = outcome
    self.code = code
    self.exit = exit ?? Int32(code)
  }

  var testDescription: String { "\(command.last ?? "") -> \(outcome)" }

  static let all = [
    Ending("exit 0", "success", code: 0),
    Ending("exit 1", "generic_failure", code: 1),
    Ending("exit 2", "usage_error", code: 2),
    Ending("exit 3", "blocked", code: 3, exit: 0),
    Ending("exit 4", "nothing_ready", code: 4, exit: 0),
    Ending("exit 5", "work_failed", code: 5),
    Ending("exit 6", "infrastructure_failure", code: 6),
    Ending("exit 7", "generic_failure", code: 7),
    Ending("exit 125", "generic_failure", code: 125),
    Ending(["/etc/passwd"], "command_not_executable", code: 126),
    Ending("exit 126", "command_not_executable", code: 126),
    Ending(["no-such-program"], "command_not_found", code: 127),
    Ending(["./no-such-file"], "command_not_found", code: 127),
    Ending("exit 128", "generic_failure", code: 128),
    Ending("exit 137", "terminated_by_signal", code: 137),
    Ending("kill -9 $$", "terminated_by_signal", code: 137),
    Ending("kill -TERM $$", "terminated_by_signal", code: 143),
    Ending("exit 255", "terminated_by_signal", code: 255),
  ]
}

extension EndToEnd {
  @Suite("The outcome of a session")
  struct OutcomeTests {
    @Test("is told by the command's exit code", arguments: Ending.all)
    func byCode(_ ending: Ending) throws {
      try withDaemon(Profile(command: ending.command)) { daemon in
        let run = try daemon.agentd("run", "site")
        #expect(run.status == .exited(ending.exit))
        let json = try daemon.record().json()
        #expect(json["outcome"]?.string == ending.outcome)
        #expect(json["exit_code"]?.integer == ending.code)
        #expect(json["signal"]?.integer == (ending.code > 128 ? ending.code - 128 : nil))
        #expect(json["end_timestamp"] != nil)
        let code = ending.code == 0 ? "" : " (exit code \(ending.code))"
        #expect(run.lastLine == "session \(ending.outcome)\(code)")
        #expect(try daemon.record().unsealed() == [])
      }
    }

    @Test("is timed_out when its time is over, with 124 for the client and SIGTERM for the command")
    func timeout() throws {
      let gate = try Gate()
      let script = "trap 'echo told; exit 9' TERM; echo ready; read word </gate/gate"
      try withDaemon(.gated(gate, script)) { daemon in
        // Its clone and its setup count: time enough for those, whatever else this machine does.
        let run = try daemon.agentd("run", "site", "--timeout", "10s")
        #expect(run.status == .exited(124))
        #expect(run.text == "ready\ntold\n")
        #expect(run.lastLine.hasPrefix("session timed_out"))
        let record = try daemon.record()
        #expect(try record.json()["outcome"]?.string == "timed_out")
        #expect(record.unsealed() == [])
        #expect(try daemon.containers() == [])
      }
    }

    @Test("is success when the command ends before its time is over")
    func withinTime() throws {
      try withDaemon(.shell("true")) { daemon in
        let run = try daemon.agentd("run", "site", "--timeout", "1h30m")
        #expect(run.status == .exited(0))
        #expect(try daemon.record().json()["outcome"]?.string == "success")
      }
    }
  }

  @Suite("A session whose setup fails")
  struct SetupFailureTests {
    /// The session ends as infrastructure_failure, sealed, and tells why on stderr and in the record.
    private func expectFailure(_ profile: Profile, mentioning words: [String]) throws {
      try withDaemon(profile) { daemon in
        let run = try daemon.agentd("run", "site")
        #expect(run.status == .exited(6))
        let record = try daemon.record()
        let json = try record.json()
        #expect(json["outcome"]?.string == "infrastructure_failure")
        #expect(json["exit_code"]?.integer == 6)
        for word in words {
          #expect(record.console.contains(word))
          #expect(run.errors.contains(word))
        }
        #expect(run.lastLine == "session infrastructure_failure (exit code 6)")
        #expect(record.unsealed() == [])
        #expect(try daemon.containers() == [])
        #expect(try daemon.waitFor("runner.session_outcome")[0].json["exit_code"]?.integer == 6)
      }
    }

    @Test("names the programs that the image lacks")
    func lacking() throws {
      try withDerivedImage("rm -f \"$(command -v gosu)\" \"$(command -v git)\"") { image in
        var profile = Profile.shell("echo ran")
        profile.image = image
        try expectFailure(profile, mentioning: ["the image lacks", "git", "gosu"])
      }
    }

    @Test("says that an image without /bin/sh needs one")
    func noShell() throws {
      try withImage(of: ["/etc/motd": "empty\n"]) { image in
        var profile = Profile.shell("echo ran")
        profile.image = image
        try expectFailure(profile, mentioning: ["/bin/sh"])
      }
    }

    @Test("ends a container that dies in its first moments: a /bin/sh that is no program")
    func brokenShell() throws {
      try withImage(of: ["/bin/sh": "\u{7f}ELF, but not really\n"]) { image in
        var profile = Profile.shell("echo ran")
        profile.image = image
        try expectFailure(profile, mentioning: ["/bin/sh"])
      }
    }

    @Test("tells of a repository that cannot be cloned, in git's own words too")
    func missingRepository() throws {
      var profile = Profile.shell("echo ran")
      profile.repository = "missing"
      try expectFailure(profile, mentioning: ["could not clone", try Repositories.url("missing")])
    }

    @Test("refuses a repository that has a .runa of its own")
    func ownRuna() throws {
      var profile = Profile.shell("echo ran")
      profile.repository = "with-runa"
      try expectFailure(profile, mentioning: ["the repository already has .runa"])
    }

    @Test("leaves other sessions of the same daemon alone")
    func others() throws {
      var broken = Profile.shell("echo ran", name: "broken")
      broken.repository = "missing"
      try withDaemon(broken, .shell("echo fine")) { daemon in
        let failed = try daemon.agentd("run", "broken")
        #expect(failed.status == .exited(6))
        let run = try daemon.agentd("run", "site")
        #expect(run.text == "fine\n")
      }
    }

    @Test("has the outcome error, and a sentence, when its image cannot be had at all")
    func noImage() throws {
      var profile = Profile.shell("true")
      profile.image = "127.0.0.1:1/nowhere/nothing:latest"
      try withDaemon(profile) { daemon in
        let run = try daemon.agentd("run", "site")
        #expect(run.status == .exited(1))
        #expect(run.lastLine == "session error")
        let record = try daemon.record()
        let json = try record.json()
        #expect(json["outcome"]?.string == "error")
        #expect(json["exit_code"] == nil)
        #expect(json["error"]?.string?.contains("127.0.0.1:1/nowhere/nothing") == true)
        #expect(record.console.contains("127.0.0.1:1/nowhere/nothing"))
        #expect(run.errors.contains("127.0.0.1:1/nowhere/nothing"))
        #expect(try daemon.waitFor("runner.session_error").count == 1)
        #expect(record.unsealed() == [])
      }
    }
  }

  @Suite("A request that is refused")
  struct RefusalTests {
    /// `agentd run` exits with 1 and one sentence, and nothing was made.
    private func expectRefusal(_ daemon: Daemon, _ words: [String], mentioning expected: [String]) throws {
      let run = try daemon.agentd(["run"] + words)
      #expect(run.status == .exited(1))
      #expect(run.output == [])
      for word in expected { #expect(run.errors.contains(word)) }
      #expect(run.errors.split(separator: "\n").count == 1)
      #expect(daemon.records().map(\.id) == [])
      #expect(try daemon.containers() == [])
      try daemon.waitFor("agentd.run_rejected")
    }

    @Test("names a profile that does not exist, and those that do")
    func profile() throws {
      try withDaemon(.shell("true")) { try expectRefusal($0, ["other"], mentioning: ["other", "site"]) }
    }

    @Test("asks for a repository where neither profile nor request has one")
    func repository() throws {
      var profile = Profile.shell("true")
      profile.repository = nil
      try withDaemon(profile) { try expectRefusal($0, ["site"], mentioning: ["repo"]) }
    }

    @Test("does not repeat the password of a repository's URL")
    func password() throws {
      try withDaemon(.shell("true")) { daemon in
        try expectRefusal(
          daemon, ["site", "https://me:hunter2@example.com/x.git"], mentioning: ["password"])
        #expect(
          !(try daemon.agentd("run", "site", "https://me:hunter2@example.com/x.git")).errors.contains(
            "hunter2"))
        #expect(!(daemon.program?.errors.text.contains("hunter2") ?? true))
      }
    }

    @Test("names the manifest that a methodology lacks")
    func methodology() throws {
      var profile = Profile.shell("true")
      profile.methodology = "empty"
      try withDaemon(profile, starting: false) { daemon in
        try makeDirectory("\(daemon.home)/empty")
        try daemon.start()
        try expectRefusal(daemon, ["site"], mentioning: ["\(daemon.home)/empty/manifest.toml"])
      }
    }

    @Test("says what is wrong with a work unit or a timeout")
    func arguments() throws {
      try withDaemon(.shell("true")) { daemon in
        try expectRefusal(daemon, ["site", "--work-unit", ""], mentioning: ["work unit"])
        let run = try daemon.agentd("run", "site", "--timeout", "soon")
        #expect(run.status != .exited(0))
        #expect(run.errors.contains("soon"))
        #expect(daemon.records().map(\.id) == [])
      }
    }

    @Test("is told apart from a daemon that does not listen: exit code 69")
    func noDaemon() throws {
      try withDaemon(.shell("true"), starting: false) { daemon in
        for words in [["run", "site"], ["ps"], ["stop", "0123456789abcdef"]] {
          let run = try daemon.agentd(words)
          #expect(run.status == .exited(69))
          #expect(run.errors.contains(daemon.socket))
        }
      }
    }
  }
}
