// How one figure comes about, on a thread that runs the loop.

@preconcurrency import Glibc
import Reactor

/// The loop of this process, on a thread of its own.
enum LoopThread {
  static let start: Void = {
    var thread = pthread_t()
    let result = pthread_create(
      &thread, nil,
      { _ in
        // Never ends: the process does.
        _ = try? Loop.run(forcedBackend: nil) { _ in await Latch().wait() }
        return nil
      }, nil)
    precondition(result == 0, "no thread")
  }()
}

extension Loop {
  /// The least time of `work` in percent of the least time of `floor`, of so many turns of both.
  nonisolated static func measured(
    _ turns: Int, work: @escaping @Sendable @Loop () async -> Void,
    floor: @escaping @Sendable @Loop () -> Void
  ) async -> Int {
    LoopThread.start
    return await Loop.spawn {
      var least = (work: UInt64.max, floor: UInt64.max)
      for _ in 0..<turns {
        let began = Loop.now.nanoseconds
        await work()
        let between = Loop.now.nanoseconds
        floor()
        least.work = min(least.work, between - began)
        least.floor = min(least.floor, Loop.now.nanoseconds - between)
        await Loop.yield()
      }
      return Int(least.work * 100 / max(least.floor, 1))
    }.value
  }
}
