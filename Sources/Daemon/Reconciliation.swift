// What a start removes: only what is provably this daemon's, and only what is dead.

internal import Engine
internal import Glibc
internal import Logging
internal import Reactor
internal import Sessions

/// Removes what sessions of earlier daemons of this instance left behind.
@Loop
struct Reconciliation {
  let containers: Containers
  let worker: Worker
  let instance: Instance
  let log: Logger

  /// Removes dead containers and the private directories of sessions without a live one.
  ///
  /// - Throws: `StartFailure` when podman does not answer.
  func run() async throws(StartFailure) {
    let listed: [ListedContainer]
    do throws(EngineError) {
      listed = try await containers.list(daemon: instance.id)
    } catch {
      throw StartFailure(
        "Podman does not tell which containers there are (\(error)): see that `podman ps` works.")
    }
    let dead = listed.filter { $0.state == .dead }
    let live = listed.filter { $0.state != .dead }
    var removed = 0
    // All are asked for at once, so that they share podman's processes.
    let removals = dead.map { container in
      Loop.spawn { await remove(container.name) }
    }
    for removal in removals where await removal.value { removed += 1 }

    let kept = Set(live.map(\.name.session))
    let directories = await worker.run { [directory = instance.runtimeDirectory] in
      Self.removeDirectories(in: directory, keeping: kept)
    }
    for failure in directories.failures { fail(failure) }
    if !live.isEmpty {
      log.warning(
        "agentd.live_containers_found",
        metadata: ["containers": "\(live.map(\.name.description).joined(separator: " "))"])
    }
    log.info(
      "agentd.startup_reconciliation_completed",
      metadata: [
        "removed_containers": .stringConvertible(removed),
        "removed_directories": .stringConvertible(directories.removed),
        "live_containers": .stringConvertible(live.count),
      ])
  }

  private func remove(_ name: ContainerName) async -> Bool {
    do throws(EngineError) {
      try await containers.remove(name)
      return true
    } catch {
      fail("The dead container \(name) was not removed: \(error).")
      return false
    }
  }

  private func fail(_ reason: String) {
    log.error("runner.lifecycle_failure", metadata: ["stage": "reconciliation", "reason": "\(reason)"])
  }

  private nonisolated static func removeDirectories(
    in path: String, keeping kept: Set<String>
  ) -> (removed: Int, failures: [String]) {
    guard let directory = opendir(path) else { return (0, ["\(path) cannot be read: errno \(errno)."]) }
    defer { closedir(directory) }
    var removed = 0
    var failures: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      guard let session = SessionID(name), !kept.contains(name) else { continue }
      do throws(SystemError) {
        try PrivateDirectory(runtimeDirectory: path, session: session).remove()
        removed += 1
      } catch {
        failures.append("The private directory of the dead session \(session) was not removed: \(error).")
      }
    }
    return (removed, failures)
  }
}
