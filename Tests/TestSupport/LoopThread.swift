// Runs the loop on a thread of its own, so that a test marked @Loop simply runs.

import Glibc
public import Reactor

/// The loop of the test process. Every suite whose tests are marked @Loop calls `start` in its initialiser.
public enum LoopThread {
  private typealias ThreadBody = @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer?

  private static let started: Void = launch { _ in serve() }
  private static let startedAlone: Void = launch { _ in
    leaveDescriptorTable()
    return serve()
  }

  private static func launch(_ body: ThreadBody) {
    Signals.block([])
    // Opens what every thread wakes the loop with, while all of them share one table of descriptors.
    Loop.perform {}
    var thread = pthread_t()
    let result = pthread_create(&thread, nil, body, nil)
    precondition(result == 0, "no thread for the loop of the tests")
    pthread_detach(thread)
  }

  private static func serve() -> UnsafeMutableRawPointer? {
    let forced = getenv("AGENTD_REACTOR").map { String(cString: $0) }
    do {
      try Loop.run(forcedBackend: forced) { choice in
        self.choice = choice
        await never.wait()
      }
    } catch {
      fatalError("the loop of the tests does not start: \(error)")
    }
    return nil
  }

  /// What the loop's first task waits for. Held here, because a task and a latch that only hold each other are a leak to
  /// the leak sanitizer when the process ends.
  @Loop private static let never = Latch()

  private static func leaveDescriptorTable() {
    let cloneFiles: Int32 = 0x400
    do {
      let unshare = try symbol("unshare", as: (@convention(c) (Int32) -> Int32).self)
      guard unshare(cloneFiles) == 0 else { throw CallFailed("unshare", errno) }
    } catch {
      fatalError("the loop of the tests gets no descriptors of its own: \(error)")
    }
  }

  /// The backend that was chosen; nil before the loop runs.
  @Loop public private(set) static var choice: BackendChoice?

  /// Starts the loop, once in a process. The backend is the one that AGENTD_REACTOR names.
  public static func start() { started }

  /// Starts the loop with a table of descriptors of its own, in a process that has not started it yet: for exit tests
  /// that count. What other threads open and close then is not seen there, and stays theirs.
  public static func startAlone() { startedAlone }
}
