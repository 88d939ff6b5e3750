// What a daemon cannot do without, looked for before it claims anything: a place for records, podman, git.

internal import Audit
internal import Engine
internal import Glibc
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

  /// The path of git; nil when there is none and each profile does without.
  func findGit(_ worker: Worker) async throws(StartFailure) -> String? {
    let path = environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"
    let git = await worker.run { Executable.find("git", in: path) }
    guard git != nil || !configuration.hasMirrors else {
      throw StartFailure(
        "There is no git in PATH (\(path)), and profiles have a repo_cache: install git, correct the daemon's PATH, "
          + "or set repo_cache = false in each profile.")
    }
    return git
  }

  /// Where the mirrors are, nobody else can put anything in the place of a folder.
  func proveCacheRoot(_ worker: Worker) async throws(StartFailure) {
    let root = configuration.daemon.cacheRoot
    guard let weakness = await worker.run({ Mirrors.weakness(of: root, for: geteuid()) }) else { return }
    throw StartFailure(
      "Mirrors are not kept in \(root), because \(weakness), who could replace what is below it: see to that, or name "
        + "another cache_root.")
  }

  /// The mirrors, also where no profile has any but an earlier configuration had: they are kept in order, and go by age.
  func findMirrors(_ instance: Instance, _ worker: Worker) async throws(StartFailure) -> Mirrors? {
    let root = configuration.daemon.cacheRoot
    if !configuration.hasMirrors {
      guard await worker.run({ Mirrors.exist(of: instance.id, in: root) }) else { return nil }
    }
    let git = try await findGit(worker)
    do throws(StartFailure) {
      try await proveCacheRoot(worker)
    } catch {
      guard !configuration.hasMirrors else { throw error }
      Self.tell(.notRemoved(reason: error.description), log)
      return nil
    }
    let withheld = configuration.secretVariables
    let mirrors = Mirrors(
      // Where there is none, no profile needs it, and none of an earlier daemon's can run.
      git: Git(executable: git ?? "/usr/bin/git"), root: root, daemon: instance.id,
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
