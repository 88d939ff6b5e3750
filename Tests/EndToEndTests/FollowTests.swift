// `agentd wait` and `agentd logs`: sessions that somebody else began, live and ended, with a daemon and without.

import Glibc
import Reactor
import Testing

extension EndToEnd {
  @Suite("Sessions that are followed")
  struct FollowTests {
    @Test(
      "`agentd wait` ends as `agentd run` did, with the session alive, with it over, and without a daemon",
      arguments: [
        ("exit 7", []), ("echo out; echo err >&2; exit 4", []), ("kill -9 $$", []),
        ("exec sleep 1000", ["--timeout", "2s"]), ("gosu nobody true", []),
      ] as [(String, [String])])
    func wait(_ script: String, _ options: [String]) throws {
      try withDaemon(.shell(script)) { daemon in
        let run = try daemon.agentd(["run", "site", "--json"] + options)
        let id = try daemon.record().id
        let json = try JSON(parsing: run.text)
        func check(_ waited: Ended) throws {
          #expect(waited.status == run.status)
          #expect(waited.errors == run.errors)
          let seen = try JSON(parsing: waited.text)
          for key in json.keys where key != "duration_ms" { #expect(seen[key] == json[key]) }
          #expect(seen.keys == json.keys)
          #expect(seen["duration_ms"]?.integer.map { $0 > 0 } == true)
        }
        try check(try daemon.agentd("wait", id, "--json"))
        #expect(try daemon.stop() == .exited(0))
        try check(try daemon.agentd("wait", id, "--json"))
        #expect(try daemon.agentd("wait", id).text == "")
      }
    }

    @Test("any number of clients wait for a live session and get its one end")
    func waitTogether() throws {
      let gate = try Gate()
      try withDaemon(.gated(gate, "read word </gate/gate; exit \"$word\"")) { daemon in
        let id = String(try daemon.agentd("run", "site", "--detach").text.dropLast())
        let clients = try (0..<5).map { _ in try daemon.begin("wait", id) }
        let left = try daemon.begin("wait", id)
        left.signal(SIGINT)
        #expect(try left.wait() == .signaled(SIGINT))
        gate.open("5")
        for client in clients {
          let ended = try daemon.end(of: client)
          #expect(ended.status == .exited(5))
          #expect(ended.errors == "session work_failed (exit code 5)\n")
        }
      }
    }

    @Test("a session that failed before it had a command is waited for with its reason")
    func waitForError() throws {
      var profile = Profile.shell("true")
      profile.image = "localhost/agentd-no-such-image:0"
      try withDaemon(profile) { daemon in
        let run = try daemon.agentd("run", "site")
        #expect(run.status == .exited(1))
        let id = try daemon.record().id
        for _ in 0..<2 {
          let waited = try daemon.agentd("wait", id)
          #expect(waited.status == .exited(1))
          #expect(waited.errors == run.errors)
          let logs = try daemon.agentd("logs", id)
          #expect(logs.status == .exited(0))
          #expect(logs.text == "")
          #expect(logs.errors + "session error\n" == run.errors)
          if daemon.program?.hasEnded == false { _ = try daemon.stop() }
        }
      }
    }

    @Test("ids that are none, and ids of no session, are told in one sentence, with a daemon and without")
    func strangers() throws {
      try withDaemon(.shell("true")) { daemon in
        let names = [
          "0123456789abcdef", "../site", "..", "", "0123456789ABCDEF", String(repeating: "a", count: 5000),
        ]
        for code in [Int32(1), 69] {
          for name in names {
            for words in [["wait"], ["logs"], ["logs", "-f"]] {
              let ended = try daemon.agentd(words + [name])
              #expect(ended.status == .exited(code), "\(words) \(name): \(ended.errors)")
              #expect(ended.errors.split(separator: "\n").count == 1)
              #expect(ended.text == "")
            }
          }
          if code == 1 { #expect(try daemon.stop() == .exited(0)) }
        }
      }
    }

    @Test("every byte, partial lines and both streams come out of logs as they were written")
    func bytes() throws {
      let script = #"""
        printf 'one\ntw'; printf 'err' >&2; sleep 0.1; printf 'o\0\r\n\n'; printf '\377\376\0 F x\n' >&2
        printf '2026-11-23T04:05:06.789012345+00:00 stdout F \n'; printf 'no newline'; printf '\nnor here' >&2
        """#
      let output = Array("one\ntwo\0\r\n\n2026-11-23T04:05:06.789012345+00:00 stdout F \nno newline".utf8)
      let errors = Array("err".utf8) + [0xff, 0xfe, 0] + Array(" F x\n\nnor here".utf8)
      try withDaemon(.shell(script)) { daemon in
        let run = try daemon.begin("run", "site")
        try daemon.end(of: run)
        #expect(run.output.bytes == output)
        #expect(run.errors.bytes == errors + Array("\nsession success\n".utf8))
        let id = try daemon.record().id
        for _ in 0..<2 {
          for words in [["logs", id], ["logs", "-f", id], ["logs", id, "--follow"]] {
            let logs = try daemon.begin(words)
            #expect(try daemon.end(of: logs).status == .exited(0))
            #expect(logs.output.bytes == output)
            #expect(logs.errors.bytes == errors)
          }
          if daemon.program?.hasEnded == false { _ = try daemon.stop() }
        }
      }
    }

    @Test("without --follow logs prints what is there, with it what comes until the end")
    func logsOfLive() throws {
      let gate = try Gate()
      try withDaemon(.gated(gate, "echo ready; read word </gate/gate; echo \"$word\"; exit 9")) { daemon in
        let id = String(try daemon.agentd("run", "site", "--detach").text.dropLast())
        let follower = try daemon.begin("logs", "-f", id)
        try follower.waitForOutput("ready\n")
        let now = try daemon.agentd("logs", id)
        #expect(now.status == .exited(0))
        #expect(now.text == "ready\n")
        gate.open("done")
        let ended = try daemon.end(of: follower)
        #expect(ended.status == .exited(0))
        #expect(ended.text == "ready\ndone\n")
        #expect(ended.errors == "")
        #expect(try daemon.record(id).json()["outcome"]?.string == "generic_failure")
      }
    }

    @Test("10 MB of any bytes and an exit at once are complete in run, in logs and in logs -f")
    func megabytes() throws {
      let gate = try Gate()
      let noise = Noise(seed: 4, output: 10_000_000, errors: 1_000_000)
      try noise.write(to: gate.directory)
      let script = "read word </gate/gate; cat /gate/errors >&2 & cat /gate/output; wait"
      try withDaemon(.gated(gate, script)) { daemon in
        let run = try daemon.begin("run", "site")
        let id = try #require(try daemon.waitFor("runner.session_started")[0].session)
        let follower = try daemon.begin("logs", "-f", id)
        gate.open()
        #expect(try daemon.end(of: run).status == .exited(0))
        #expect(try daemon.end(of: follower).status == .exited(0))
        let logs = try daemon.begin("logs", id)
        #expect(try daemon.end(of: logs).status == .exited(0))
        // Compared outside of the macro: nobody wants to see megabytes in a failure.
        for client in [run, follower, logs] {
          let isComplete = client.output.bytes == noise.output
          #expect(isComplete, "stdout of \(client.name)")
        }
        for (client, expected) in [
          (follower, noise.errors), (logs, noise.errors),
          (run, noise.errors + Array("\nsession success\n".utf8)),
        ] {
          let isComplete = client.errors.bytes == expected
          #expect(isComplete, "stderr of \(client.name)")
        }
      }
    }

    @Test("logs ends when nobody reads it any more, as other programs do")
    func brokenPipe() throws {
      try withDaemon(.shell("yes | head -n 100000")) { daemon in
        _ = try daemon.agentd("run", "site", "--json")
        let script = #""$0" logs $3 "$1" --config "$2" | head -n 1; echo "${PIPESTATUS[@]}""#
        for option in ["", "-f"] {
          let text = try Host.run(
            "bash", ["-c", script, Host.agentd, try daemon.record().id, daemon.config, option])
          #expect(text == "y\n141 0\n")
        }
        let full = try Host.run(
          "bash",
          [
            "-c", #""$0" logs "$1" --config "$2" 2>&1 >/dev/full; echo "$?""#, Host.agentd,
            try daemon.record().id, daemon.config,
          ])
        let lines = full.split(separator: "\n")
        #expect(lines.count == 2)
        #expect(
          lines[0].hasPrefix("agentd: The session's output was not taken to its end (write: No space left"))
        #expect(lines[1] == "1")
      }
    }
  }
}

/// Bytes without any pattern, the same for one seed.
struct Noise {
  let output: [UInt8]
  let errors: [UInt8]

  /// - Parameters: how many bytes of each.
  init(seed: UInt64, output: Int, errors: Int) {
    var state = seed
    func bytes(_ count: Int) -> [UInt8] {
      var bytes = [UInt8](repeating: 0, count: (count + 7) / 8 * 8)
      bytes.withUnsafeMutableBytes { buffer in
        for index in 0..<buffer.count / 8 {
          // Marsaglia's xorshift64.
          state ^= state << 13
          state ^= state >> 7
          state ^= state << 17
          buffer.storeBytes(of: state, toByteOffset: index * 8, as: UInt64.self)
        }
      }
      // The last line has no end.
      bytes[count - 1] = UInt8(ascii: "x")
      return Array(bytes[..<count])
    }
    self.output = bytes(output)
    self.errors = bytes(errors)
  }

  /// Puts both into files for a container.
  func write(to directory: String) throws {
    for (name, bytes) in [("output", output), ("errors", errors)] {
      let descriptor = open("\(directory)/\(name)", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
      guard descriptor >= 0 else { throw Failure("\(directory)/\(name): errno \(errno)") }
      defer { close(descriptor) }
      fchmod(descriptor, 0o644)
      var written = 0
      while written < bytes.count {
        let count = bytes[written...].withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        guard count > 0 else { throw Failure("\(directory)/\(name): errno \(errno)") }
        written += count
      }
    }
  }
}
