// A podman that an earlier daemon had started to start a container, and that runs on without it.

internal import Engine
internal import Glibc
internal import Logging
internal import Reactor

/// The launches that an earlier daemon of this instance left behind. While one runs, what podman lists is not yet true.
@Loop
struct OrphanedLaunches {
  /// How long a launch may take to come to its end by itself; podman needs a tenth of a second, under load some.
  static let patience: Duration = .seconds(20)
  /// How long the kernel may take to end one that was killed.
  private static let killPatience: Duration = .seconds(5)

  let host: SessionHost
  let log: Logger
  let patience: Duration

  /// Returns when none runs any more. All are waited for at once.
  func end() async {
    let processes = await host.worker.run { [daemon = host.daemonID, user = geteuid()] in
      Process.all(of: user).filter { Podman.launchedName(by: $0.arguments)?.daemon == daemon }
    }
    let ends = processes.map { pid, arguments in
      Loop.spawn { await self.end(pid, arguments) }
    }
    for end in ends { await end.value }
  }

  private func end(_ pid: Int32, _ arguments: [String]) async {
    // Held first and looked at again: the number may have become another's.
    guard let process = try? Process(pid: pid, needsStatus: false) else { return }
    defer { process.close() }
    guard Process.arguments(of: pid) == arguments else { return }
    log.info("agentd.orphaned_launch_found", metadata: ["pid": .stringConvertible(pid)])
    if await hasEnded(process, within: patience) { return }
    log.warning(
      "agentd.orphaned_launch_killed",
      metadata: [
        "pid": .stringConvertible(pid),
        "reason": "It did not end within \(patience.components.seconds) s.",
      ])
    try? process.signal(SIGKILL)
    _ = await hasEnded(process, within: Self.killPatience)
  }

  private func hasEnded(_ process: Process, within patience: Duration) async -> Bool {
    let over = Latch()
    process.onExit = { over.open() }
    if process.hasEnded { return true }
    let timer = Timer(after: patience) { over.open() }
    await over.wait()
    timer.cancel()
    process.onExit = nil
    return process.hasEnded
  }
}
