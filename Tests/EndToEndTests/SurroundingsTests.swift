// What the command finds around itself: user, directories, environment, mounts, repository.

import Testing

extension EndToEnd {
  @Suite("The command's surroundings")
  struct SurroundingsTests {
    @Test(
      "it runs as the profile's user, in the clone, with the environment that is promised and nothing more")
    func environment() throws {
      try withDaemon(.shell("id -un; id -u; pwd; exec env -0 >.runa/environment")) { daemon in
        let run = try daemon.agentd("run", "site", "--work-unit", "issue 7/ü")
        #expect(run.status == .exited(0))
        let lines = run.text.split(separator: "\n")
        #expect(lines.count == 3)
        #expect(lines.first == "site")
        #expect(lines.dropFirst().first.flatMap { Int($0) }.map { $0 > 0 } == true)
        #expect(lines.last == "/home/site/repo")
        var seen = Environment(try #require(try daemon.record().runa("environment"))).values
        let promised = [
          "HOME": "/home/site", "USER": "site", "LOGNAME": "site", "PROFILE_NAME": "site",
          "AGENTD_WORK_UNIT": "issue 7/ü", "PWD": "/home/site/repo",
        ]
        for (name, value) in promised { #expect(seen.removeValue(forKey: name) == value, "\(name)") }
        // Podman's own, and the image's.
        for name in ["PATH", "HOSTNAME", "container", "TERM", "SHLVL", "_"] { seen[name] = nil }
        #expect(seen == [:])
      }
    }

    @Test(
      "the clone is fresh and complete, and .runa leads into the record without being part of the repository")
    func clone() throws {
      let script = """
        git rev-parse HEAD; git remote get-url origin; git status --porcelain; readlink .runa; cat README.md
        touch .runa/x && git status --porcelain && stat -c %U . README.md .git
        """
      try withDaemon(.shell(script)) { daemon in
        let run = try daemon.agentd("run", "site")
        #expect(
          run.text == """
            \(try Repositories.head("plain"))
            \(try Repositories.url("plain"))
            /home/site/.agentd/runa
            A repository for sessions.
            site
            site
            site

            """)
      }
    }

    @Test("a repository named on the command line takes the place of the profile's")
    func repository() throws {
      var profile = Profile.shell("git remote get-url origin")
      profile.repository = "missing"
      try withDaemon(profile) { daemon in
        let url = try Repositories.url("plain")
        let run = try daemon.agentd("run", "site", url)
        #expect(run.text == url + "\n")
        #expect(try daemon.record().json()["repo_url"]?.string == url)
      }
    }

    @Test("mounts appear where they should, a read-only one refuses writes, commas and spaces are no matter")
    func mounts() throws {
      let script = """
        cat /data/input "$HOME/my state/old"
        echo new >"$HOME/my state/new" || exit 1
        for file in /data/input /data/new /agentd/methodology/manifest.toml; do
          if (: >>"$file") 2>/dev/null; then echo "$file can be written"; exit 1; fi
        done
        stat -c '%a %n' "$HOME/my state/old"
        cat /agentd/methodology/manifest.toml
        """
      var profile = Profile.shell(script)
      let sources = "\(Ground.directory)/mounts"
      try makeDirectory(sources)
      let odd = "\(sources)/a, \"b\" c"
      try makeDirectory("\(sources)/data", mode: 0o777)
      try makeDirectory(odd, mode: 0o777)
      try writeFile("\(sources)/data/input", "in\n", mode: 0o666)
      try writeFile("\(odd)/old", "old\n", mode: 0o640)
      chmodForAll("\(odd)/old")
      profile.mounts = [("\(sources)/data", "/data", true), (odd, "/home/site/my state", false)]
      try withDaemon(profile) { daemon in
        let run = try daemon.agentd("run", "site")
        #expect(run.status == .exited(0))
        #expect(run.text == "in\nold\n644 /home/site/my state/old\nname = \"tests\"\n")
        #expect(readText("\(odd)/new") == "new\n")
      }
      try Host.removeTree(sources)
    }

    @Test("what the image ships in the home is the user's, what is mounted there keeps its owner")
    func home() throws {
      let script = """
        mkdir -p /home/site/.config && echo shipped >/home/site/.config/tool && chmod 600 /home/site/.config/tool
        """
      var profile = Profile.shell("cat ~/.config/tool; stat -c %U ~ ~/.config/tool ~/cache")
      let cache = "\(Ground.directory)/cache"
      try makeDirectory(cache)
      profile.mounts = [(cache, "/home/site/cache", true)]
      try withDerivedImage(script) { image in
        profile.image = image
        try withDaemon(profile) { daemon in
          let run = try daemon.agentd("run", "site")
          #expect(run.text == "shipped\nsite\nsite\nroot\n")
        }
      }
      try Host.removeTree(cache)
    }
  }
}
