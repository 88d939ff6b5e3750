// Credentials: they reach the command and nothing else on the machine.

import Testing

/// A value with everything that shells, JSON, TOML and environment files trip over.
private let awkward = "it's \"q3Wx81secret\" $(id) `id` \\n\\ \n two\nlines \n\n"

extension EndToEnd {
  @Suite("Credentials")
  struct SecretTests {
    private func profile(_ gate: Gate, _ script: String) -> Profile {
      var profile = Profile.gated(gate, script)
      profile.credentials = [("AWKWARD", "E2E_AWKWARD"), ("EMPTY", "E2E_EMPTY"), ("PLAIN", "E2E_PLAIN")]
      return profile
    }

    private let environment = ["E2E_AWKWARD": awkward, "E2E_EMPTY": "", "E2E_PLAIN": "zt77Kpsecret"]

    @Test("no value is found anywhere while the session lives or afterwards, where a planted word is found")
    func search() throws {
      let gate = try Gate()
      // The planted word takes the ways that a careless daemon would send a secret: the words of the command, and
      // what the command prints.
      let script = """
        : planted4Jv command
        echo planted4Jv >/tmp/in-layer; echo ready; echo "${#AWKWARD} ${#EMPTY} ${#PLAIN}"; read word </gate/gate
        echo planted4Jv
        """
      try withDaemon(profile(gate, script), environment: environment) { daemon in
        let search = SecretSearch(words: ["q3Wx81secret", "zt77Kpsecret", "planted4Jv"])
        let client = try daemon.begin("run", "site")
        try client.waitForOutput("\(awkward.utf8.count) 0 12\n")
        try writeFile("\(daemon.runtimeDirectory)/planted", "planted4Jv")

        let alive = Set(try search.places(daemon))
        for place in [
          "a command line", "podman inspect", "podman's store", "the container's layer",
          "the runtime directory",
        ] {
          #expect(alive.contains("planted4Jv in \(place)"), "the search does not work in \(place)")
        }
        #expect(alive.filter { !$0.hasPrefix("planted4Jv") } == [])

        gate.open()
        #expect(try daemon.end(of: client).status == .exited(0))
        // Podman's database does not wipe what it has removed, so the planted word may still be there.
        let after = Set(try search.places(daemon))
        #expect(after.contains("planted4Jv in the record"))
        #expect(after.filter { !$0.hasPrefix("planted4Jv") } == [])
      }
    }

    @Test("podman's processes do not get the daemon's variables that hold secrets")
    func environmentOfPodman() throws {
      let gate = try Gate()
      try withDaemon(profile(gate, "true"), environment: environment, starting: false) { daemon in
        // A podman that writes down its environment.
        let calls = try PodmanCalls(in: daemon)
        try daemon.start()
        #expect(try daemon.agentd("run", "site").status == .exited(0))
        let seen = calls.environments()
        #expect(seen.contains("PATH="))
        for word in ["q3Wx81secret", "zt77Kpsecret", "E2E_"] { #expect(!seen.contains(word)) }
      }
    }

    @Test("the command sees each value exactly, with its quotes, newlines and emptiness")
    func values() throws {
      var profile = Profile.shell("env -0 >.runa/environment; printf '%s' \"$AWKWARD\"")
      profile.credentials = [("AWKWARD", "E2E_AWKWARD"), ("EMPTY", "E2E_EMPTY"), ("PLAIN", "E2E_PLAIN")]
      try withDaemon(profile, environment: environment) { daemon in
        let run = try daemon.agentd("run", "site")
        #expect(run.text == awkward)
        let seen = Environment(try #require(try daemon.record().runa("environment")))
        #expect(seen["AWKWARD"] == awkward)
        #expect(seen["EMPTY"] == "")
        #expect(seen["PLAIN"] == "zt77Kpsecret")
      }
    }

    @Test("credentials named PATH and LD_PRELOAD reach the command and change nothing before it")
    func dangerousNames() throws {
      // Only builtins: with this PATH the command finds no program, and each program would complain of LD_PRELOAD.
      var profile = Profile.shell("printf '%s\\n' \"$PATH\" \"$LD_PRELOAD\"")
      profile.credentials = [("PATH", "E2E_PATH"), ("LD_PRELOAD", "E2E_PRELOAD")]
      let environment = ["E2E_PATH": "/nowhere", "E2E_PRELOAD": "/nowhere/evil.so"]
      try withDaemon(profile, environment: environment) { daemon in
        let run = try daemon.agentd("run", "site")
        #expect(run.status == .exited(0))
        #expect(run.text == "/nowhere\n/nowhere/evil.so\n")
        // One complaint of the dynamic linker: the command's own start.
        #expect(run.errors.split(separator: "\n").count { $0.contains("/nowhere/evil.so") } == 1)
      }
    }

    @Test("a credential whose variable is not set is refused, naming profile, credential and variable")
    func unset() throws {
      var profile = Profile.shell("true")
      profile.credentials = [("PLAIN", "E2E_NOT_SET")]
      try withDaemon(profile) { daemon in
        let run = try daemon.agentd("run", "site")
        #expect(run.status == .exited(1))
        for word in ["site", "PLAIN", "E2E_NOT_SET"] { #expect(run.errors.contains(word)) }
        #expect(daemon.records().map(\.id) == [])
        #expect(try daemon.waitFor("agentd.run_rejected")[0].text.contains("E2E_NOT_SET"))
      }
    }
  }
}

/// The variables that `env -0` printed.
struct Environment {
  private(set) var values: [String: String] = [:]

  init(_ bytes: [UInt8]) {
    for variable in bytes.split(separator: 0) {
      let text = String(decoding: variable, as: UTF8.self)
      guard let equals = text.firstIndex(of: "=") else { continue }
      values[String(text[..<equals])] = String(text[text.index(after: equals)...])
    }
  }

  subscript(name: String) -> String? { values[name] }
}
