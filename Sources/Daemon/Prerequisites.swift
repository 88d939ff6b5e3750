// What a daemon cannot do without, looked for before it claims anything: a place for records, podman, git.

internal import Audit
internal import Engine
internal import Logging
internal import Profiles
internal import Reactor

extension Service {
  func proveAuditRoot(_ worker: Worker) async throws(StartFailure) {
    do throws(AuditError) {
      try await worker.run { [root = configuration.daemon.auditRoot] () throws(AuditError) in
        try Record.proveWritable(auditRoot: root)
      }
    } catch {
      throw StartFailure("Audit records cannot be written. \(error)")
    }
  }

  func reachPodman(_ worker: Worker) async throws(StartFailure) -> Containers {
    let path = environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"
    guard let podman = await worker.run({ Executable.find("podman", in: path) }) else {
      throw StartFailure(
        "There is no podman in PATH (\(path)): install Podman, or correct the daemon's PATH.")
    }
    let withheld = configuration.secretVariables.union(Supervisor.variables)
    let words = environment.filter { !withheld.contains($0.key) }.map { "\($0.key)=\($0.value)" }
    let containers = Containers(
      podman: Podman(executable: podman), environment: words, worker: worker,
      processLimit: configuration.daemon.capacity.podmanProcesses, deadlines: deadlines)
    do throws(EngineError) {
      try await containers.probe()
    } catch {
      throw StartFailure(
        "Podman does not work (\(error)): see that `podman info` works for the daemon's user.")
    }
    return containers
  }

  /// The path of git; nil when each profile does without.
  func findGit(_ worker: Worker) async throws(StartFailure) -> String? {
    guard configuration.hasMirrors else { return nil }
    let path = environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"
    guard let git = await worker.run({ Executable.find("git", in: path) }) else {
      throw StartFailure(
        "There is no git in PATH (\(path)), and profiles have a repo_cache: install git, correct the daemon's PATH, "
          + "or set repo_cache = false in each profile.")
    }
    return git
  }

  func findMirrors(_ instance: Instance, _ worker: Worker) async throws(StartFailure) -> Mirrors? {
    guard let git = try await findGit(worker) else { return nil }
    let withheld = configuration.secretVariables
    let mirrors = Mirrors(
      git: Git(executable: git), root: configuration.daemon.cacheRoot, daemon: instance.id,
      maxAge: configuration.daemon.cacheMaxAge,
      environment: environment.filter { !withheld.contains($0.key) }, worker: worker)
    mirrors.onEvent = { [log] in Self.tell($0, log) }
    return mirrors
  }

  private static func tell(_ event: MirrorEvent, _ log: Logger) {
    switch event {
    case .rebuilt(let profile, let repository, let reason):
      log.warning(
        "agentd.mirror_rebuilt",
        metadata: ["profile": "\(profile)", "repository": "\(repository)", "reason": "\(reason)"])
    case .dropped(let count):
      log.info("agentd.mirrors_dropped", metadata: ["count": .stringConvertible(count)])
    case .orphanEnded(let pid):
      log.warning("agentd.orphaned_fetch_ended", metadata: ["pid": .stringConvertible(pid)])
    case .notRemoved(let reason):
      log.error("runner.lifecycle_failure", metadata: ["stage": "mirrors", "reason": "\(reason)"])
    }
  }
}
