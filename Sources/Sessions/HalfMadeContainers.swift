// What a podman that was killed in the middle of a launch leaves behind: a conmon that waits with a container.

internal import Engine
internal import Glibc
internal import Logging
internal import Reactor

/// Containers that podman has made and neither started nor written down. `podman rm` removes their files and finds none
/// of their processes, which would wait for ever.
@Loop
struct HalfMadeContainers {
  /// How long the kernel may take to end a process that was killed.
  private static let killPatience: Duration = .seconds(5)

  let host: SessionHost
  let log: Logger

  /// Ends the conmons of this daemon whose containers `isHalfMade` picks, with what they have started. No launch of such
  /// a container may run.
  func end(_ isHalfMade: @Loop (ContainerName) -> Bool) async {
    let conmons = await host.worker.run { [daemon = host.daemonID, user = geteuid()] in
      Process.all(of: user).compactMap { pid, arguments in
        Podman.recordedName(by: arguments).map { (name: $0, pid: pid, arguments: arguments) }
      }.filter { $0.name.daemon == daemon }
    }
    for conmon in conmons where isHalfMade(conmon.name) {
      await end(conmon.pid, conmon.arguments)
      log.warning(
        "agentd.half_made_container_ended",
        metadata: ["pid": .stringConvertible(conmon.pid), "container_name": "\(conmon.name)"])
    }
  }

  private func end(_ pid: Int32, _ arguments: [String]) async {
    // Held first and looked at again: the number may have become another's.
    guard let conmon = try? Process(pid: pid, needsStatus: false) else { return }
    defer { conmon.close() }
    guard Process.arguments(of: pid) == arguments else { return }
    // Stopped, it starts nothing more while what it has started is looked for.
    try? conmon.signal(SIGSTOP)
    let family = await hold(descendantsOf: pid)
    for process in family { try? process.signal(SIGKILL) }
    try? conmon.signal(SIGKILL)
    let patience = Timer(after: Self.killPatience) { for process in family + [conmon] { process.close() } }
    for process in family + [conmon] { await process.wait() }
    patience.cancel()
    for process in family { process.close() }
  }

  private func hold(descendantsOf pid: Int32) async -> [Process] {
    let user = geteuid()
    let found = await host.worker.run { Process.descendants(of: pid, user: user) }
    let held = found.compactMap { number in
      (try? Process(pid: number, needsStatus: false)).map { (number: number, process: $0) }
    }
    // Asked again, now that no number can become another's: conmon takes in the orphans among them, so they stay.
    let confirmed = Set(await host.worker.run { Process.descendants(of: pid, user: user) })
    for (number, process) in held where !confirmed.contains(number) { process.close() }
    return held.filter { confirmed.contains($0.number) }.map(\.process)
  }
}
