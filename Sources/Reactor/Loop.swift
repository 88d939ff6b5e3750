// The isolation domain of the whole program: code marked @Loop runs on the reactor's thread and nowhere else.

internal import CSupport
internal import Glibc
public import Time

/// Marks what belongs to the reactor's thread. The compiler then refuses any other access.
@globalActor
public actor Loop {
  /// The one loop of this process.
  public static let shared = Loop()
  static let executor = LoopExecutor()

  /// The reactor's thread.
  public nonisolated var unownedExecutor: UnownedSerialExecutor { Loop.executor.asUnownedSerialExecutor() }

  /// Runs the loop on the calling thread until `body` has returned, and returns what it returned.
  ///
  /// - Parameters:
  ///   - forcedBackend: the value of AGENTD_REACTOR, nil or empty for the best that the kernel grants.
  ///   - body: the first task. It learns which backend was chosen.
  /// - Throws: `BackendUnavailable`.
  public nonisolated static func run<Result: Sendable>(
    forcedBackend: String?, _ body: @escaping @Loop (BackendChoice) async -> Result
  ) throws(BackendUnavailable) -> Result {
    let (backend, choice) = try openBackend(forced: forcedBackend)
    // What is on the loop takes microseconds and others wait for it, while podman keeps every processor busy.
    agentd_prefer_short_turns()
    let box = ResultBox<Result>()
    Task(executorPreference: executor) {
      box.result = await body(choice)
      executor.stop()
    }
    do throws(SystemError) {
      try executor.run(on: backend)
    } catch {
      throw BackendUnavailable(description: "The kernel stopped serving the reactor (\(error)).")
    }
    guard let result = box.result else { preconditionFailure("the loop stopped before its first task did") }
    return result
  }

  /// Starts a task of its own on the loop. The only way to start one: a plain `Task` would begin on a thread of
  /// Swift's global pool.
  @discardableResult
  public nonisolated static func spawn<Value: Sendable>(
    _ body: @escaping @Loop () async -> Value
  ) -> Task<Value, Never> {
    Task(executorPreference: executor) { await body() }
  }

  /// Lets everything else have its turn, the kernel's events included. For a task that could go on without ever
  /// waiting. (Task.yield goes by way of Swift's global pool.)
  public static func yield() async {
    await withCheckedContinuation { executor.resumeNextTurn($0) }
  }

  /// From now on the loop goes before all ordinary programs of the machine, for a tenth of one processor's time
  /// (`RealtimeShare`).
  ///
  /// - Returns: whether it may. If not, nothing changes.
  public static func takeRealtimeShare() -> Bool {
    RealtimeShare.isHarmless() && executor.takeRealtimeShare()
  }

  /// Runs `body` once all that is ready has had its turn, before the loop waits for the kernel: for what is cheaper to do
  /// once than many times.
  static func beforeWait(_ body: @escaping @Loop () -> Void) { executor.beforeWait(body) }

  /// Runs `body` on the loop: now when this is its thread already, soon otherwise.
  public nonisolated static func perform(_ body: @escaping @Sendable @Loop () -> Void) {
    if executor.isOnLoop {
      assumeIsolated(body)
    } else {
      executor.enqueue(body)
    }
  }

  /// Where bytes are read to that are looked at before anything else happens. To be had for nothing: memory of this size
  /// would take its time each time.
  @Loop static let readBuffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 14, alignment: 16)

  /// Now, by the monotonic clock.
  public static var now: Instant { Instant(nanoseconds: agentd_monotonic()) }

  /// Now, by the wall clock: for records and logs, never to measure with.
  /// Not bound to the loop, because a configuration is read before it runs.
  public nonisolated static var wallClock: Timestamp { Timestamp(nanosecondsSinceEpoch: agentd_realtime()) }

  /// Runs `body`, which belongs to the loop, from code that is on the loop's thread without the compiler knowing.
  nonisolated static func assumeIsolated<Result, Failure: Error>(
    _ body: @Loop () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    executor.checkIsolated()
    typealias Plain = () throws(Failure) -> Result
    // The same change of type that the standard library makes in MainActor.assumeIsolated.
    return try withoutActuallyEscaping(body) { (escaping) throws(Failure) -> Result in
      try unsafeBitCast(escaping, to: Plain.self)()
    }
  }
}

/// Carries the first task's result out of the loop. Written and read on the loop's thread only.
private final class ResultBox<Result>: @unchecked Sendable {
  var result: Result?
}
