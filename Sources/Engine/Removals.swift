// Removes containers, those that come due together by one podman process.

internal import Reactor

/// Collects removals while one runs, and hands all of them to the next.
///
/// Three containers in one `podman rm` take 64 ms, one takes 38 ms. The first is never kept waiting for others, and a
/// process that hangs not for longer than the patience.
@Loop
final class Removals {
  /// Names in one command: far below the bound on a command line, and a bound on what one failure holds up.
  private static let batchLimit = 64
  /// How often a container that could not be removed is tried again by itself.
  private static let attemptLimit = 3
  private static let attemptPause: Duration = .seconds(1)

  private struct Wish {
    let name: ContainerName
    let onBegin: @Loop () -> Void
    let continuation: UnsafeContinuation<Result<Void, EngineError>, Never>
  }

  private unowned let containers: Containers
  private var waiting: [Wish] = []
  private var isRunning = false

  init(_ containers: Containers) { self.containers = containers }

  /// - Parameter onBegin: called once, when it is its turn, together with those of all that are removed with it.
  func remove(_ name: ContainerName, _ onBegin: @escaping @Loop () -> Void) async throws(EngineError) {
    let result = await withUnsafeContinuation { continuation in
      waiting.append(Wish(name: name, onBegin: onBegin, continuation: continuation))
      if !isRunning {
        isRunning = true
        Loop.spawn { await self.work() }
      }
    }
    try result.get()
  }

  private func work() async {
    while !waiting.isEmpty {
      let batch = Array(waiting.prefix(Self.batchLimit))
      waiting.removeFirst(batch.count)
      for wish in batch { wish.onBegin() }
      let settled = Latch()
      Loop.spawn {
        await self.fulfil(batch)
        settled.open()
      }
      let patience = Timer(after: containers.deadlines.patience) { settled.open() }
      await settled.wait()
      patience.cancel()
    }
    isRunning = false
  }

  private func fulfil(_ batch: [Wish]) async {
    do throws(EngineError) {
      try await removeAll(batch.map(\.name))
      for wish in batch { wish.continuation.resume(returning: .success(())) }
    } catch {
      // One that cannot be removed must not decide over the others.
      for wish in batch {
        Loop.spawn { wish.continuation.resume(returning: await self.removeAlone(wish.name)) }
      }
    }
  }

  private func removeAll(_ names: [ContainerName]) async throws(EngineError) {
    let arguments = containers.podman.remove(names)
    let result = try await containers.run(
      arguments, in: .removals, deadline: containers.deadlines.removal)
    guard result.succeeded else { throw Containers.failure(of: arguments, result) }
  }

  /// Removing is safe to repeat: `--ignore` makes a container that has gone a success. One that hangs by itself, too,
  /// has had its time.
  private func removeAlone(_ name: ContainerName) async -> Result<Void, EngineError> {
    var last = EngineError(description: "podman rm was not tried")
    for attempt in 0..<Self.attemptLimit {
      if attempt > 0 { await Timer.sleep(Self.attemptPause) }
      do throws(EngineError) {
        try await removeAll([name])
        return .success(())
      } catch {
        last = error
        if error.isTimeout { break }
      }
    }
    return .failure(last)
  }
}
