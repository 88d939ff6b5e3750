// agentd check: says what is wrong with a configuration, or what it means.

internal import ArgumentParser
internal import Daemon
internal import Profiles
internal import Reactor
internal import Time

struct Check: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check", abstract: "Validate the configuration and print what it means.",
    discussion: "Prints every problem and exits with 1, or a summary and exits with 0. Needs no daemon.")

  @OptionGroup var options: ConfigurationOptions

  func run() throws {
    let configuration = try options.load()
    print(
      """
      \(configuration.path) is in order.

      daemon
        socket      \(configuration.daemon.socketPath)
        pid file    \(configuration.daemon.pidFile)
        audit root  \(configuration.daemon.auditRoot)
        cache root  \(configuration.daemon.cacheRoot), for \(configuration.daemon.cacheMaxAge.written)
        sessions    at most \(configuration.daemon.capacity.sessions) at once, \
      \(configuration.daemon.capacity.queue) more in the queue
        podman      at most \(configuration.daemon.capacity.podmanProcesses) processes at once
      """)
    if configuration.profiles.contains(where: \.repositoryCache) {
      let path = currentEnvironment()["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"
      let git = Executable.find("git", in: path)
      print("  git         \(git ?? "none in PATH: install it, or set repo_cache = false in each profile")")
    }
    let now = Loop.wallClock
    for profile in configuration.profiles { print("\n" + summary(of: profile, at: now)) }
  }

  private func summary(of profile: Profile, at now: Timestamp) -> String {
    var lines = ["profile \(profile.name)"]
    func add(_ name: String, _ value: String) {
      lines.append("  \(name)\(String(repeating: " ", count: 12 - name.count))\(Terminal.plain(value))")
    }
    add("image", profile.baseImage)
    add("methodology", profile.methodologyDirectory)
    add("repository", profile.repository?.text ?? "none: name one with each run")
    add(
      "clones",
      profile.repositoryCache ? "a mirror on this host" : "the repository itself (repo_cache = false)")
    if let source = profile.repositoryTokenSource { add("clone token", "from \(source)") }
    if let runs = profile.schedule {
      let schedule = runs.schedule
      add("schedule", schedule.expression.text)
      add("timezone", schedule.zone.name + (runs.timezone == nil ? " (local time)" : ""))
      add("jitter", schedule.jitter == .zero ? "none" : "less than \(schedule.jitter.written)")
      add("overlap", runs.overlap.rawValue)
      if let next = runs.upcoming(1, from: now).first {
        let left = Terminal.age(milliseconds: (next.due - now).wholeMilliseconds)
        add("next run", "\(schedule.zone.text(of: next.due)), in \(left)")
      }
    }
    add(
      "command",
      profile.command.map { $0.split(separator: "\n").first.map(String.init) ?? "" }.joined(separator: " "))
    for mount in profile.mounts {
      add("mount", "\(mount.source) at \(mount.target), \(mount.readOnly ? "read-only" : "writable")")
    }
    for credential in profile.credentials {
      add("credential", "\(credential.name) from \(credential.source)")
    }
    return lines.joined(separator: "\n")
  }
}
