// The daemon under a supervisor that waits for its word, as systemd does for Type=notify.

import Glibc
import Testing

extension EndToEnd {
  @Suite("Under a supervisor")
  struct SupervisorTests {
    @Test("it is told of the start, the sessions and the drain, and of nothing after that")
    func life() throws {
      let supervisor = try Supervisor()
      let gate = try Gate()
      try withDaemon(.gated(gate), environment: ["NOTIFY_SOCKET": supervisor.address]) { daemon in
        let start = try supervisor.next()
        #expect(start == "READY=1\nSTATUS=0 sessions")
        let client = try daemon.begin("run", "site")
        let first = try supervisor.next()
        #expect(first == "STATUS=1 session")
        try client.waitForOutput("ready")
        daemon.program?.signal(SIGTERM)
        let drain = try supervisor.next()
        #expect(drain == "STOPPING=1\nSTATUS=Draining: 1 session left")
        gate.open()
        let last = try supervisor.next()
        #expect(last == "STATUS=Draining: 0 sessions left")
        #expect(try daemon.end(of: client).status == .exited(0))
        #expect(try daemon.wait() == .exited(0))
        #expect(supervisor.rest() == [])
      }
    }

    @Test("a second signal ends it at once, without another word")
    func secondSignal() throws {
      let supervisor = try Supervisor()
      let gate = try Gate()
      try withDaemon(.gated(gate), environment: ["NOTIFY_SOCKET": supervisor.address]) { daemon in
        let client = try daemon.begin("run", "site", "--wait-for-daemon", "0s")
        try client.waitForOutput("ready")
        daemon.program?.signal(SIGTERM)
        while try !supervisor.next().hasPrefix("STOPPING=1\n") {}
        daemon.program?.signal(SIGTERM)
        #expect(try daemon.wait() == .exited(128 + SIGTERM))
        #expect(supervisor.rest() == [])
        try daemon.end(of: client)
      }
    }
  }
}
