// Runs the loop on a thread of its own, so that a test marked @Loop simply runs.

import Glibc
import Reactor

/// The loop of the test process. Every suite whose tests are marked @Loop calls `start` in its initialiser.
public enum LoopThread {
  private static let started: Void = {
    Signals.block([])
    var thread = pthread_t()
    let result = pthread_create(
      &thread, nil,
      { _ in
        let forced = getenv("AGENTD_REACTOR").map { String(cString: $0) }
        do {
          try Loop.run(forcedBackend: forced) { _ in await Latch().wait() }
        } catch {
          fatalError("the loop of the tests does not start: \(error)")
        }
        return nil
      }, nil)
    precondition(result == 0, "no thread for the loop of the tests")
    pthread_detach(thread)
  }()

  /// Starts the loop, once in a process. The backend is the one that AGENTD_REACTOR names.
  public static func start() { started }
}
