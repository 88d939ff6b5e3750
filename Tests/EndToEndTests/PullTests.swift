// An image that the host does not have yet.

import Reactor
import Testing

extension EndToEnd {
  @Suite("A missing image")
  struct PullTests {
    @Test("is pulled once for all sessions that wait for it, and they all run")
    func pulledOnce() throws {
      let registry = try Registry()
      defer { _ = try? Host.podman("rmi", "--force", registry.reference) }
      var profile = Profile.shell("echo \"ran $AGENTD_WORK_UNIT\"")
      profile.image = registry.reference
      try withDaemon(profile, environment: registry.environment, starting: false) { daemon in
        let calls = try PodmanCalls(in: daemon)
        try daemon.start()
        // Each has answered with its session's id, so all three wait for the image when it comes.
        let sessions = try (0..<3).map { number in
          let run = try daemon.agentd("run", "site", "--detach", "--work-unit", "\(number)")
          #expect(run.status == .exited(0))
          return String(run.text.dropLast())
        }
        let waiting = try JSON(parsing: try daemon.agentd("ps", "--json").text).elements
        #expect(waiting.map { $0["phase"]?.string } == ["image", "image", "image"])
        registry.open()
        for (number, session) in sessions.enumerated() {
          try daemon.waitFor("runner.session_teardown", session: session)
          let record = try daemon.record(session)
          #expect(try record.json()["outcome"]?.string == "success")
          #expect(record.console.contains("ran \(number)"))
        }
        #expect(calls.verbs().count { $0 == "pull" } == 1)
        #expect(registry.pulls == 1)
        // It is known from now on.
        let run = try daemon.agentd("run", "site", "--work-unit", "later")
        #expect(run.text == "ran later\n")
        #expect(registry.pulls == 1)
      }
    }

    @Test("that cannot be pulled fails each session that waited, with a sentence, after one attempt")
    func unreachable() throws {
      let registry = try Registry()
      var profile = Profile.shell("true")
      // A name that the registry does not serve as an image: its answer to anything else is no manifest list.
      profile.image = registry.reference.replacing(
        "base:test", with: "other@sha256:\(String(repeating: "0", count: 64))")
      try withDaemon(profile, environment: registry.environment, starting: false) { daemon in
        let calls = try PodmanCalls(in: daemon)
        try daemon.start()
        let sessions = try (0..<3).map { _ in
          String(try daemon.agentd("run", "site", "--detach").text.dropLast())
        }
        registry.open()
        for session in sessions {
          try daemon.waitFor("runner.session_teardown", session: session)
          let json = try daemon.record(session).json()
          #expect(json["outcome"]?.string == "error")
          #expect(json["error"]?.string?.isEmpty == false)
          #expect(json["error"]?.string?.contains("\n") == false)
        }
        #expect(calls.verbs().count { $0 == "pull" } == 1)
      }
    }

    @Test("can be waited for in vain: stopping such a session does not wait for the pull")
    func stoppedMeanwhile() throws {
      let registry = try Registry()
      defer { _ = try? Host.podman("rmi", "--force", registry.reference) }
      var profile = Profile.shell("true")
      profile.image = registry.reference
      try withDaemon(profile, environment: registry.environment) { daemon in
        let session = String(try daemon.agentd("run", "site", "--detach").text.dropLast())
        let stop = try daemon.agentd("stop", session)
        #expect(stop.status == .exited(0))
        try daemon.waitFor("runner.session_teardown", session: session)
        let json = try daemon.record(session).json()
        #expect(json["outcome"]?.string == "error")
        #expect(json["error"]?.string?.contains("stopped") == true)
        registry.open()
        #expect(try daemon.stop() == .exited(0))
      }
    }
  }
}
