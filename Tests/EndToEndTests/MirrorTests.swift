// Clones from a mirror on the host: what a session gets, what it cannot reach, and who pays for the network.

import Glibc
import Testing

extension EndToEnd {
  @Suite("A clone from the daemon's mirror")
  struct MirrorTests {
    /// What there is to see of a clone, and of what was mounted for it. Objects are compared by fsck: their packs differ.
    private static let look = """
      cd .git && find . -name objects -prune -o -type f ! -name index ! -path './hooks/*' -print | sort |
        while read -r file; do echo "== $file"; sed 's/ <.*> [0-9]* +0000/ TIME/' "$file"; done
      cd .. && git for-each-ref && git status --short --branch && git fsck --no-dangling && git remote -v
      cat .git/objects/info/alternates 2>/dev/null; find .git/objects -type f ! -user "$USER"
      find .git/objects -type f -links +1; ls -A "$HOME/.agentd"; cat file
      """

    @Test(
      "is what a clone of the remote is, owned by the user alone, and the token-less container knows no mirror"
    )
    func equal() throws {
      let repository = try Repositories.branched()
      var mirrored = Profile.shell(Self.look)
      mirrored.repository = repository
      var direct = mirrored
      direct.name = "direct"
      direct.repositoryCache = false
      // The user's name is in reflogs and paths.
      try withDaemon(mirrored, direct) { daemon in
        let clones = try (0..<2).map { _ in try daemon.agentd("run", "site") }
        let expected = try daemon.agentd("run", "direct")
        #expect(expected.status == .exited(0))
        #expect(expected.text.contains("refs/remotes/origin/side/way"))
        #expect(expected.text.contains("origin\t\(repository) (fetch)"))
        for clone in clones {
          #expect(clone.status == .exited(0))
          #expect(clone.text == expected.text.replacing("direct", with: "site"))
        }
        // What they cloned is gone from the host.
        #expect(daemon.clones() == [])
        let record = try #require(daemon.records().first { $0.path.contains("/direct/") })
        let phases = try #require(try record.json()["phases"]).elements
        #expect(!phases.contains { $0["name"]?.string == "fetch" })
      }
    }

    @Test("is out of the agent's reach, and nothing of it is left when the command runs")
    func unreachable() throws {
      let gate = try Gate()
      let script = """
        ls /agentd/mirror; cat /agentd/mirror/HEAD; grep -c /agentd/mirror /proc/self/mountinfo
        echo ready; read word </gate/gate; ls /agentd/mirror
        """
      try withDaemon(.gated(gate, script)) { daemon in
        let client = try daemon.begin("run", "site")
        try client.waitForOutput("ready")
        let clones = "\(daemon.home)/cache/clones/\(try #require(daemon.instance))"
        try waitUntil(
          "the removal of its copy", files: [clones], alive: client, seen: { "\(entries(of: clones))" }
        ) {
          entries(of: clones).isEmpty ? () : nil
        }
        #expect(
          try Host.podman("exec", "-u", "0", daemon.containers()[0], "ls", "-A", "/agentd/mirror") == "")
        gate.open()
        let run = try daemon.end(of: client)
        #expect(run.text == "1\nready\n")
        #expect(
          run.errors.split(separator: "\n").count { $0.hasSuffix("Permission denied") } == 3, "\(run.errors)")
      }
    }

    @Test("has what was pushed a moment before, for one question to the remote, also after a restart")
    func fresh() throws {
      let repository = try Repositories.branched()
      var profile = Profile.shell("git rev-parse HEAD")
      profile.repository = repository
      try withDaemon(profile) { daemon in
        for number in 1...4 {
          let commit = try Repositories.commit(to: repository)
          #expect(try daemon.agentd("run", "site").text == commit + "\n")
          #expect(try Repositories.requests(for: repository) == number)
          if number == 3 {
            #expect(try daemon.stop() == .exited(0))
            try daemon.start()
          }
        }
        #expect(entries(of: "\(daemon.home)/cache/mirrors/\(try #require(daemon.instance))/site").count == 1)
      }
    }

    @Test(
      "a mirror that was damaged is made anew, and a daemon says so; a session's setup that cannot clone one, too"
    )
    func broken() throws {
      let repository = try Repositories.branched()
      var profile = Profile.shell("git rev-parse HEAD; git fsck --no-dangling")
      profile.repository = repository
      try withDaemon(profile) { daemon in
        let first = try daemon.agentd("run", "site")
        #expect(first.status == .exited(0))
        let mirrors = "\(daemon.home)/cache/mirrors/\(try #require(daemon.instance))/site"
        let packs = "\(mirrors)/\(try #require(entries(of: mirrors).first))/repository/objects/pack"
        try Host.run("sh", ["-c", "rm \"$0\"/*.idx", packs])
        #expect(try daemon.agentd("run", "site").text == first.text)
        try daemon.waitFor("agentd.mirror_rebuilt")
        // As a disk that rots: nothing tells of it but what git reads.
        let rot = """
          cd "$0" && touch -r *.pack time && chmod u+w *.pack && size=$(stat -c %s *.pack) && at=40 &&
          while [ $at -lt $((size - 30)) ]; do
            printf X | dd of="$(echo *.pack)" bs=1 seek=$at conv=notrunc 2>/dev/null; at=$((at + 25))
          done
          chmod u-w *.pack && touch -r time *.pack && rm time
          """
        try Host.run("sh", ["-c", rot, packs])
        let rotten = try daemon.agentd("run", "site")
        if rotten.status != .exited(0) {
          #expect(rotten.status == .exited(6))
          #expect(rotten.errors.contains("could not clone the mirror of \(repository)"))
        }
        #expect(try daemon.agentd("run", "site").text == first.text)
        try daemon.waitFor("agentd.mirror_rebuilt", count: 2)
      }
    }

    @Test(
      "a token fetches on the host, never enters the container, and fails the next session when it is revoked"
    )
    func token() throws {
      let gate = try Gate()
      let server = try TokenServer(token: "tk83Qx55secret")
      defer { server.stop() }
      var profile = Profile.gated(gate, "git remote -v; env; echo ready; read word </gate/gate")
      profile.repository = server.url
      profile.tokenSource = "E2E_CLONE_TOKEN"
      let environment = ["E2E_CLONE_TOKEN": "tk83Qx55secret", "GIT_SSL_CAINFO": server.certificate]
      try withDaemon(profile, environment: environment) { daemon in
        let search = SecretSearch(words: ["tk83Qx55secret"])
        let client = try daemon.begin("run", "site")
        try client.waitForOutput("ready")
        let alive = try search.places(daemon)
        #expect(alive == [])
        let environments = try search.environments(in: daemon.containers()[0])
        #expect(environments.contains("PROFILE_NAME=site"))
        #expect(!environments.contains("tk83Qx55secret"))
        gate.open()
        #expect(try daemon.end(of: client).status == .exited(0))
        let after = try search.places(daemon)
        #expect(after == [])
        #expect(
          try Host.run("sh", ["-c", "grep -raF tk83Qx55secret \"$0\" || :", "\(daemon.home)/cache"]) == "")

        try server.revoke()
        let refused = try daemon.agentd("run", "site")
        #expect(refused.status == .exited(6))
        #expect(
          refused.errors.contains("agentd: could not clone \(server.url): fatal: Authentication failed for"))
        #expect(!refused.errors.contains("tk83Qx55secret"))
        let record = try #require(daemon.records().first { $0.console.contains("Authentication failed") })
        #expect(try record.json()["outcome"]?.string == "infrastructure_failure")
      }
    }
  }
}
