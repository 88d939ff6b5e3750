// A bound on how many tasks do one thing at a time.

/// Grants a fixed number of permits, first come, first served.
@Loop
public final class Semaphore {
  private var free: Int
  private var waiting: [CheckedContinuation<Void, Never>] = []

  /// - Parameter permits: how many holders there may be at once; at least 1.
  public init(permits: Int) {
    precondition(permits >= 1, "a semaphore without permits never lets anyone in")
    free = permits
  }

  /// Runs `body` while holding a permit, and gives the permit back on every path.
  public func withPermit<Result, Failure: Error>(
    _ body: @Loop () async throws(Failure) -> Result
  ) async throws(Failure) -> Result {
    if free > 0 {
      free -= 1
    } else {
      // Whoever gives a permit back hands it to the first in line: nobody can overtake.
      await withCheckedContinuation { continuation in
        // Asked again: a task that prefers no executor has left the loop and come back to it to get here.
        if free > 0 {
          free -= 1
          continuation.resume()
        } else {
          waiting.append(continuation)
        }
      }
    }
    defer { release() }
    return try await body()
  }

  private func release() {
    if waiting.isEmpty {
      free += 1
    } else {
      waiting.removeFirst().resume()
    }
  }
}
