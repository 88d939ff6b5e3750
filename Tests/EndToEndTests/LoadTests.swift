// Many sessions, many clients, and none at all: what the daemon uses and what it gives back.

import Glibc
import Reactor
import Testing

extension EndToEnd {
  @Suite("Under load and at rest")
  struct LoadTests {
    @Test("20 sessions at once are all sealed, and everything that they used comes back")
    func twenty() throws {
      let gate = try Gate()
      let script =
        "echo ready; read word </gate/gate; echo $AGENTD_WORK_UNIT >.runa/unit; head -c 100000 /dev/zero"
      try withDaemon(.gated(gate, script)) { daemon in
        // A ring gives its descriptors back some time after its process has ended. Nothing tells when, so the
        // clients have none here.
        daemon.clientEnvironment["AGENTD_REACTOR"] = "epoll"
        // What is opened once is open after the first session.
        gate.open()
        try daemon.expectSuccess()
        try daemon.settle { !$0.contains { $0.hasSuffix(" (deleted)") } }
        let descriptors = daemon.descriptors()
        let files = daemon.runtimeFiles()

        let clients = try (0..<20).map { try daemon.begin("run", "site", "--work-unit", "unit-\($0)") }
        for client in clients { try client.waitForOutput("ready") }
        #expect(try daemon.containers().count == 20)
        for _ in clients { gate.open() }
        for client in clients {
          let run = try daemon.end(of: client)
          #expect(run.status == .exited(0))
          #expect(run.output.count == "ready\n".utf8.count + 100_000)
        }
        try daemon.settle { $0 == descriptors }
        #expect(daemon.descriptors() == descriptors)
        #expect(daemon.runtimeFiles() == files)
        #expect(daemon.children() == [])
        #expect(daemon.threads() == 2)
        #expect(try daemon.containers() == [])

        let records = daemon.records()
        #expect(records.count == 21)
        for record in records {
          #expect(record.unsealed() == [])
          let json = try record.json()
          #expect(json["outcome"]?.string == "success")
          #expect(record.runaText("unit") == "\(json["work_unit"]?.string ?? "")\n")
        }
        #expect(Set(records.map { $0.runaText("unit") }).count == 21)
      }
    }

    @Test("10 sessions after a first one take at most 20 podman processes, user namespace calls aside")
    func podmanProcesses() throws {
      try withDaemon(.shell("true"), starting: false) { daemon in
        let calls = try PodmanCalls(in: daemon)
        try daemon.start()
        try daemon.expectSuccess()
        let before = calls.verbs().count
        for _ in 0..<10 {
          try daemon.expectSuccess()
        }
        let verbs = calls.verbs().dropFirst(before).filter { $0 != "unshare" }
        #expect(verbs.count { $0 == "run" } == 10)
        #expect(verbs.count <= 20, "\(verbs)")
      }
    }

    @Test("at rest it has two threads, and none of them wakes up")
    func idle() throws {
      var scheduled = Profile.shell("true")
      scheduled.schedule = "0 0 29 2 *"
      try withDaemon(scheduled) { daemon in
        try daemon.expectSuccess()
        try daemon.settle()
        let program = try #require(daemon.program)
        // Nothing is what is measured here, so time is all there is to wait for; the first second is for whatever
        // the last client set off.
        var descriptor = pollfd(fd: program.pidfd, events: Int16(POLLIN), revents: 0)
        #expect(poll(&descriptor, 1, 1000) == 0)
        let before = daemon.voluntarySwitches()
        #expect(before.count == 2)
        #expect(poll(&descriptor, 1, 3000) == 0)
        #expect(daemon.voluntarySwitches() == before)
      }
    }
  }

  @Suite("A client that misbehaves")
  struct MisbehavingClientTests {
    /// While `body` plays its part, a session runs and another client gets answers; then the session ends well.
    private func expectService(_ body: (Daemon) throws -> Void) throws {
      let gate = try Gate()
      try withDaemon(.gated(gate)) { daemon in
        let client = try daemon.begin("run", "site")
        try client.waitForOutput("ready")
        try body(daemon)
        let list = try daemon.agentd("ps")
        #expect(list.status == .exited(0))
        #expect(list.text.contains(try daemon.record().id))
        // A debug build; a client that could make it keep what it sends would be far above.
        #expect(daemon.peakKiB() < 100_000)
        gate.open()
        #expect(try daemon.end(of: client).status == .exited(0))
        #expect(try daemon.record().json()["outcome"]?.string == "success")
      }
    }

    @Test("by sending half a request and falling silent is told so and closed, others are served meanwhile")
    func halfRequest() throws {
      try expectService { daemon in
        let silent = try Connection(to: daemon.socket)
        #expect(try silent.send("{\"protocol\":1,"))
        let list = try daemon.agentd("ps")
        #expect(list.status == .exited(0))
        #expect(try silent.readToEnd().contains("refused"))
      }
    }

    @Test("by keeping 1,000 connections open does not keep others out")
    func crowd() throws {
      try raiseDescriptorLimit(to: 1200)
      try expectService { daemon in
        var crowd: [Connection] = []
        for _ in 0..<1000 { crowd.append(try Connection(to: daemon.socket)) }
        let list = try daemon.agentd("ps")
        #expect(list.status == .exited(0))
        #expect(daemon.descriptors().count < 1000)
        crowd = []
      }
    }

    @Test("by sending noise gets one clear sentence")
    func noise() throws {
      try expectService { daemon in
        for noise in [[0, 255, 10, 1, 2, 10], Array("GET / HTTP/1.1\r\n\r\n".utf8), Array("{}\n[]\n".utf8)] {
          let connection = try Connection(to: daemon.socket)
          _ = try connection.send(noise)
          let answer = try connection.readToEnd()
          #expect(answer.contains("refused"))
          #expect(answer.split(separator: "\n").count == 1)
        }
      }
    }

    @Test("by speaking for another build is told to restart the daemon")
    func otherBuild() throws {
      try expectService { daemon in
        let connection = try Connection(to: daemon.socket)
        #expect(try connection.send("{\"protocol\":999,\"build\":\"9.9.9\",\"body\":{}}\n"))
        let answer = try connection.readToEnd()
        #expect(answer.contains("9.9.9"))
        #expect(answer.contains("restart the daemon"))
      }
    }

    @Test("by sending 100 MB without a newline is cut off")
    func endlessLine() throws {
      try expectService { daemon in
        let connection = try Connection(to: daemon.socket)
        let chunk = [UInt8](repeating: UInt8(ascii: "x"), count: 1 << 20)
        var sent = 0
        while sent < 100, try connection.send(chunk) { sent += 1 }
        #expect(sent < 100)
        let list = try daemon.agentd("ps")
        #expect(list.status == .exited(0))
      }
    }

    @Test("by never reading its answers is let go of")
    func neverReads() throws {
      try expectService { daemon in
        let connection = try Connection(to: daemon.socket)
        let greeting = try greeting(daemon)
        let request =
          "{\"protocol\":\(greeting.number),\"build\":\"\(greeting.build)\",\"body\":{\"list\":{}}}\n"
        #expect(try answer(to: request, from: daemon).contains("sessions"))
        let chunk = Array(String(repeating: request, count: 1000).utf8)
        // Its requests are not taken either once its answers are not: sending stops, at the latest when it is closed.
        var sent = 0
        while sent < 1000, try connection.send(chunk) { sent += 1 }
        #expect(sent < 1000)
      }
    }

    /// What the daemon answers to one line.
    private func answer(to line: String, from daemon: Daemon) throws -> String {
      let connection = try Connection(to: daemon.socket)
      #expect(try connection.send(line))
      connection.endOfRequests()
      return try connection.readToEnd()
    }

    /// Which protocol and build a message has to name: those of the daemon's own messages.
    private func greeting(_ daemon: Daemon) throws -> (number: Int, build: String) {
      let json = try JSON(parsing: try answer(to: "noise\n", from: daemon))
      return (try #require(json["protocol"]?.integer), try #require(json["build"]?.string))
    }
  }
}

/// Lets this process open so many files, where its hard limit allows.
private func raiseDescriptorLimit(to count: UInt64) throws {
  var limit = rlimit()
  getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
  guard limit.rlim_cur < count else { return }
  limit.rlim_cur = rlim_t(min(UInt64(limit.rlim_max), count))
  guard limit.rlim_cur >= count, setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
    throw Failure("this test needs \(count) open files: raise the limit (ulimit -Hn)")
  }
}

extension Daemon {
  /// Runs a session, which is to end well.
  fileprivate func expectSuccess() throws {
    let run = try agentd("run", "site")
    #expect(run.status == .exited(0))
  }
}
