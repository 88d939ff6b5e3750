// Sessions to which something happens from outside: a peer that hangs, an operator who removes, sizes at the limit.

import Glibc
import Reactor
import Testing

extension EndToEnd {
  @Suite("A session in hardship")
  struct HardshipTests {
    @Test("its timeout also ends a clone that hangs, on the host or inside", arguments: [true, false])
    func hangingClone(isMirrored: Bool) throws {
      let server = try SilentServer()
      var profile = Profile.shell("echo ran")
      profile.repository = server.url
      profile.repositoryCache = isMirrored
      try withDaemon(profile) { daemon in
        let run = try daemon.agentd("run", "site", "--timeout", "1s")
        #expect(run.status == .exited(124))
        #expect(run.output == [])
        let record = try daemon.record()
        #expect(try record.json()["outcome"]?.string == "timed_out")
        #expect(record.unsealed() == [])
        #expect(try daemon.containers() == [])
      }
    }

    @Test("it can be stopped while its clone hangs, on the host or inside", arguments: [true, false])
    func stoppedClone(isMirrored: Bool) throws {
      let server = try SilentServer()
      var profile = Profile.shell("echo ran")
      profile.repository = server.url
      profile.repositoryCache = isMirrored
      try withDaemon(profile) { daemon in
        let client = try daemon.begin("run", "site")
        try server.waitForClient(of: daemon)
        client.signal(SIGINT)
        let run = try daemon.end(of: client)
        // Without a container there is no command that could have a code.
        #expect(run.status == .exited(isMirrored ? 1 : 143))
        #expect(run.output == [])
        #expect(try daemon.record().unsealed() == [])
        #expect(try daemon.containers() == [])
      }
    }

    @Test("a container that is removed by hand ends it as killed, and its record is sealed")
    func removedContainer() throws {
      let gate = try Gate()
      try withDaemon(.gated(gate)) { daemon in
        let client = try daemon.begin("run", "site")
        try client.waitForOutput("ready")
        try Host.run("podman", ["rm", "--force", "--time", "0"] + (try daemon.containers()))
        let run = try daemon.end(of: client)
        #expect(run.status == .exited(137))
        let record = try daemon.record()
        #expect(try record.json()["outcome"]?.string == "terminated_by_signal")
        #expect(record.unsealed() == [])
      }
    }

    @Test("a credential as large as Linux takes it arrives whole")
    func largeCredential() throws {
      // MAX_ARG_STRLEN counts the name, the equals sign and the NUL.
      let size = 131_072 - "LARGE=".utf8.count - 1
      let letters = Array("aZ0 \n'\"\\$`;\t=%".unicodeScalars)
      let value = String(
        String.UnicodeScalarView((0..<size).map { letters[($0 &* $0 &+ $0 / 7) % letters.count] }))
      var profile = Profile.shell("printf %s \"$LARGE\" >.runa/large")
      profile.credentials = [("LARGE", "E2E_L")]
      try withDaemon(profile, environment: ["E2E_L": value]) { daemon in
        let run = try daemon.agentd("run", "site")
        #expect(run.status == .exited(0))
        // Compared as a whole: a failure must not print it.
        let isEqual = try daemon.record().runa("large") == Array(value.utf8)
        #expect(isEqual)
      }
    }

    @Test("a repository without a commit is cloned, and the record names none")
    func emptyRepository() throws {
      var profile = Profile.shell("git rev-parse --is-inside-work-tree; readlink .runa")
      profile.repository = "empty"
      try withDaemon(profile) { daemon in
        let run = try daemon.agentd("run", "site")
        #expect(run.status == .exited(0))
        #expect(run.text == "true\n/home/site/.agentd/runa\n")
        #expect(try daemon.record().json()["commit"] == nil)
      }
    }

    @Test("a mount whose source has gone since the start is a refusal that names it")
    func missingMount() throws {
      let source = "\(Ground.directory)/passing"
      try makeDirectory(source)
      var profile = Profile.shell("true")
      profile.mounts = [(source, "/data", true)]
      try withDaemon(profile) { daemon in
        rmdir(source)
        let run = try daemon.agentd("run", "site")
        #expect(run.status == .exited(1))
        #expect(run.errors.contains(source))
        #expect(daemon.records().map(\.id) == [])
      }
    }
  }
}

/// Takes connections on loopback and never says a word.
final class SilentServer {
  let url: String
  private let listener: Int32

  init() throws {
    let port = try freePort()
    url = "git://127.0.0.1:\(port)/silent.git"
    listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = loopback(port: port)
    let result = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard result == 0, listen(listener, 8) == 0 else { throw Failure("listen: errno \(errno)") }
  }

  deinit { close(listener) }

  /// Returns when a client has connected, which waits from then on.
  func waitForClient(of daemon: Daemon) throws {
    var descriptor = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
    guard poll(&descriptor, 1, Int32(patience.components.seconds * 1000)) == 1 else {
      throw Failure("nobody came to clone. Seen: \(daemon.report())")
    }
  }
}
