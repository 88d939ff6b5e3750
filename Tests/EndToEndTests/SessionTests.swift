// One session from `agentd run` to its sealed record.

import Glibc
import Testing

extension EndToEnd {
  @Suite("A session")
  struct SessionTests {
    @Test("what the command writes reaches stdout and stderr byte for byte, without a newline at its end too")
    func streams() throws {
      let script = #"""
        printf 'one\n'
        printf 'to stderr \377\000\n' >&2
        printf '\000\377\376\r\n\n  spaces  '
        printf 'no newline at the end'
        """#
      try withDaemon(.shell(script)) { daemon in
        let client = try daemon.begin("run", "site")
        let run = try daemon.end(of: client)
        #expect(run.status == .exited(0))
        let expected: [UInt8] =
          Array("one\n".utf8) + [0, 255, 254] + Array("\r\n\n  spaces  no newline at the end".utf8)
        #expect(run.output == expected)
        #expect(client.errors.bytes.contains(Array("to stderr ".utf8) + [255, 0, 10]))
        #expect(run.lastLine == "session success")
      }
    }

    @Test("a last line without a newline on stderr stays apart from the status line")
    func partialStderr() throws {
      try withDaemon(.shell("printf 'half a line' >&2; exit 1")) { daemon in
        let run = try daemon.agentd("run", "site")
        #expect(run.status == .exited(1))
        #expect(run.errors.hasSuffix("half a line\nsession generic_failure (exit code 1)\n"))
      }
    }

    @Test("10 MB written in one go, followed at once by the exit, arrive complete")
    func bulk() throws {
      let script = "head -c 10485760 /dev/urandom | tee .runa/bytes"
      try withDaemon(.shell(script)) { daemon in
        let client = try daemon.begin("run", "site")
        let run = try daemon.end(of: client)
        #expect(run.status == .exited(0))
        let written = try #require(try daemon.record().runa("bytes"))
        #expect(written.count == 10_485_760)
        // Compared as a whole: a failure must not print 10 MB.
        #expect(run.output.count == written.count)
        let isEqual = run.output == written
        #expect(isEqual)
      }
    }

    @Test("10 MB through a pipe arrive complete at a slow reader")
    func pipe() throws {
      let script = "head -c 10485760 /dev/urandom | tee .runa/bytes"
      try withDaemon(.shell(script)) { daemon in
        let pipe = """
          { "$1" run site --config "$2"; echo $? >"$3/status"; } | { head -c 100000; cat; } >"$3/copy"
          """
        try Host.run("sh", ["-c", pipe, "sh", Host.agentd, daemon.config, daemon.home])
        #expect(readText("\(daemon.home)/status") == "0\n")
        let isEqual = readFile("\(daemon.home)/copy") == (try daemon.record().runa("bytes"))
        #expect(isEqual)
      }
    }

    @Test("output is there while the session runs, half a line included")
    func streaming() throws {
      let gate = try Gate()
      try withDaemon(.gated(gate, "echo ready; printf half; read word </gate/gate; echo \" $word\"")) {
        daemon in
        let client = try daemon.begin("run", "site")
        try client.waitForOutput("ready\nhalf")
        #expect(!client.hasEnded)
        gate.open("whole")
        let run = try daemon.end(of: client)
        #expect(run.text == "ready\nhalf whole\n")
      }
    }

    @Test("a reader that goes away early does not end the session")
    func brokenPipe() throws {
      let script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; echo done >.runa/done"
      try withDaemon(.shell(script)) { daemon in
        try Host.run(
          "sh", ["-c", "\"$1\" run site --config \"$2\" | head -n 1", "sh", Host.agentd, daemon.config])
        let end = try daemon.waitFor("runner.session_teardown")
        let record = try daemon.record(try #require(end[0].session))
        #expect(try record.json()["outcome"]?.string == "success")
        #expect(record.runaText("done") == "done\n")
      }
    }

    @Test("the record says what ran, from which commit and image, and when")
    func metadata() throws {
      try withDaemon(.shell("true")) { daemon in
        let run = try daemon.agentd("run", "site", "--work-unit", "issue-7")
        #expect(run.status == .exited(0))
        let record = try daemon.record()
        let json = try record.json()
        #expect(json["schema_version"]?.integer == 1)
        #expect(json["session_id"]?.string == record.id)
        #expect(record.id.count == 16 && record.id.allSatisfy { $0.isHexDigit && !$0.isUppercase })
        #expect(json["profile"]?.string == "site")
        #expect(try json["repo_url"]?.string == Repositories.url("plain"))
        #expect(json["work_unit"]?.string == "issue-7")
        #expect(try json["commit"]?.string == Repositories.head("plain"))
        #expect(json["outcome"]?.string == "success")
        #expect(json["exit_code"]?.integer == 0)
        let image = try Host.podman("image", "inspect", "--format", "{{.Digest}}", try Host.image())
        #expect(json["image_digest"]?.string == String(image.prefix { !$0.isWhitespace }))

        let phases = try #require(json["phases"]).elements
        #expect(
          phases.map { $0["name"]?.string } == [
            "image", "fetch", "launch", "setup", "command", "teardown", "seal",
          ])
        var moments = [json["start_timestamp"]]
        for phase in phases { moments += [phase["start_timestamp"], phase["end_timestamp"]] }
        let times = moments.compactMap { $0?.string }
        #expect(times.count == 1 + 2 * phases.count)
        let end = try #require(json["end_timestamp"]?.string)
        let form = #/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/#
        for time in times + [end] { #expect(try form.wholeMatch(in: time) != nil, "\(time)") }
        #expect(times == times.sorted())
        #expect(times[0] <= end)
      }
    }

    @Test("a session without a work unit has none in its record and its environment")
    func noWorkUnit() throws {
      try withDaemon(.shell("echo \"${AGENTD_WORK_UNIT-unset}\"")) { daemon in
        let run = try daemon.agentd("run", "site")
        #expect(run.text == "unset\n")
        #expect(try daemon.record().json()["work_unit"] == nil)
      }
    }

    @Test("everything in the record is sealed: files 0444, directories 0555, symlinks left alone")
    func sealed() throws {
      // As the agent leaves them under any user: private, writable, executable, linked, of several kinds.
      let script = """
        cd .runa; umask 077
        mkdir -p deep/er; echo text >deep/er/private; chmod 600 deep/er/private; chmod 700 deep deep/er
        echo run >tool; chmod 4777 tool; ln -s /etc/passwd link; ln -s nowhere dangling
        mkdir closed; echo hidden >closed/file; chmod 000 closed/file closed; mkfifo fifo; : >empty
        """
      try withDaemon(.shell(script)) { daemon in
        let run = try daemon.agentd("run", "site")
        #expect(run.status == .exited(0))
        let record = try daemon.record()
        #expect(
          record.listing() == [
            "agentd/console.log: file 444", "agentd/session.json: file 444", "agentd: directory 700",
            "runa/closed/file: file 444", "runa/closed: directory 555", "runa/dangling: symlink",
            "runa/deep/er/private: file 444", "runa/deep/er: directory 555", "runa/deep: directory 555",
            "runa/empty: file 444", "runa/fifo: file 444", "runa/link: symlink", "runa/tool: file 444",
            "runa: directory 555",
          ])
        #expect(try record.json()["outcome"]?.string == "success")
        #expect(status(of: "/etc/passwd")?.permissions == 0o644)
        // For an ordinary user the agent's files are somebody else's, whom only podman's user namespace knows.
        #expect(status(of: "\(record.path)/runa/deep/er/private")?.st_uid != geteuid())
        // Directories are the daemon's now: who made them cannot open them again.
        for name in ["", "/deep", "/deep/er", "/closed"] {
          #expect(status(of: "\(record.path)/runa\(name)")?.st_uid == geteuid())
        }
        #expect(record.runaText("deep/er/private") == "text\n")
      }
    }

    @Test("a record with a file that has a second name stays incomplete, and the events say why")
    func multipleLinks() throws {
      try withDaemon(.shell("echo x >.runa/one; ln .runa/one .runa/two")) { daemon in
        _ = try daemon.agentd("run", "site")
        let record = try daemon.record()
        let json = try record.json()
        #expect(json["outcome"] == nil)
        #expect(json["end_timestamp"] == nil)
        let failure = try daemon.waitFor("runner.lifecycle_failure", session: record.id)[0]
        #expect(failure.json["stage"]?.string == "seal")
        #expect(failure.text.contains("runa/"))
      }
    }

    @Test("nothing but the record stays behind")
    func nothingLeft() throws {
      try withDaemon(.shell("true")) { daemon in
        let before = daemon.runtimeFiles()
        let run = try daemon.agentd("run", "site")
        #expect(run.status == .exited(0))
        #expect(daemon.runtimeFiles() == before)
        #expect(try daemon.containers() == [])
        #expect(daemon.children() == [])
      }
    }

    @Test("the events of a session tell its story, each with session, container and profile")
    func events() throws {
      try withDaemon(.shell("exit 5")) { daemon in
        _ = try daemon.agentd("run", "site")
        let record = try daemon.record()
        try daemon.waitFor("runner.session_teardown", session: record.id)
        let lines = daemon.log().filter { $0.event?.hasPrefix("runner.") ?? false }
        #expect(
          lines.map(\.event) == [
            "runner.session_started", "runner.session_outcome", "runner.session_teardown",
          ])
        let instance = try #require(daemon.instance)
        for line in lines {
          #expect(line.session == record.id)
          #expect(line.container == "agentd-\(instance)-site-\(record.id)")
          #expect(line.json["profile"]?.string == "site")
          #expect(line.json["timestamp"]?.string?.hasSuffix("Z") == true)
          #expect(line.json["level"] != nil)
        }
        #expect(lines[1].json["outcome"]?.string == "work_failed")
      }
    }
  }
}

extension Array where Element == UInt8 {
  /// Whether the bytes occur in these.
  func contains(_ other: [UInt8]) -> Bool {
    guard let first = other.first, other.count <= count else { return other.isEmpty }
    return indices.contains { start in
      self[start] == first && start + other.count <= count
        && self[start..<start + other.count].elementsEqual(other)
    }
  }
}
