// The one thread beside the loop: it does what waits for a disk.

internal import CSupport
internal import Glibc
internal import Synchronization
internal import SystemPackage

/// Runs closures, one after the other, on a thread of its own.
///
/// A long job is cut into steps by whoever submits it, so that a short one never waits for the whole of it. (What is
/// generic can be inlined: a call would else look up the metadata of its types each time.)
public final class Worker: Sendable {
  /// How many jobs wait until there is nothing else to do. A further one has the oldest done at once.
  private static let idleJobLimit = 64

  private let jobs = TransferStack<@Sendable () -> Void>()
  private let own = OwnState()
  private let wakeDescriptor: Descriptor

  /// What is the thread's alone. Sendable without checking: nothing else touches it once the thread runs.
  private final class OwnState: @unchecked Sendable {
    var thread: pthread_t?
    var share: RealtimeShare?
    var idleJobs: [() -> Void] = []
  }

  /// Starts the thread. Signals have to be blocked before, because a thread inherits the mask of its maker.
  ///
  /// - Throws: `SystemError` when the kernel grants no thread or no descriptor.
  public init() throws(SystemError) {
    wakeDescriptor = Descriptor(owning: try SystemError.check("eventfd", agentd_eventfd(false)))
    var thread = pthread_t()
    let body = Unmanaged.passRetained(self)
    let result = pthread_create(
      &thread, nil,
      { argument in
        guard let argument else { return nil }
        Unmanaged<Worker>.fromOpaque(argument).takeRetainedValue().serve()
      }, body.toOpaque())
    guard result == 0 else {
      body.release()
      throw SystemError("pthread_create", Errno(rawValue: result))
    }
    pthread_detach(thread)
  }

  /// Runs `body` on the worker and returns what it returned.
  @Loop @inlinable
  public func run<Result: Sendable>(_ body: @escaping @Sendable () -> Result) async -> Result {
    // Unchecked, because what is submitted is run once: there is no way around that for a check to find.
    await withUnsafeContinuation { continuation in
      submit { continuation.resume(returning: body()) }
    }
  }

  /// Runs `body` on the worker and returns or throws what it did.
  @Loop @inlinable
  public func run<Value: Sendable, Failure: Error>(
    _ body: @escaping @Sendable () throws(Failure) -> Value
  ) async throws(Failure) -> Value {
    let result: Result<Value, Failure> = await run {
      do throws(Failure) { return .success(try body()) } catch { return .failure(error) }
    }
    return try result.get()
  }

  /// Runs `body` on the worker and returns the first of what it returned, while the worker goes on with the second.
  ///
  /// - Parameter onRest: called with what came of the second, perhaps before who asked has gone on.
  @Loop @inlinable
  public func run<First: Sendable, Rest: Sendable>(
    _ body: @escaping @Sendable () -> (First, rest: () -> Rest),
    onRest: @escaping @Loop @Sendable (Rest) -> Void
  ) async -> First {
    await withUnsafeContinuation { continuation in
      submit {
        let (first, rest) = body()
        continuation.resume(returning: first)
        let result = rest()
        Loop.perform { onRest(result) }
      }
    }
  }

  /// Runs `step` again and again, until it says that it is done or until another job waits: a long job that is alone does
  /// not come back to the loop after each piece.
  ///
  /// - Returns: whether it is done.
  @Loop
  public func runSteps<Failure: Error>(
    _ step: @escaping @Sendable () throws(Failure) -> Bool
  ) async throws(Failure) -> Bool {
    try await run { [self] () throws(Failure) in
      repeat {
        if try step() { return true }
        own.share?.charge()
      } while !jobs.hasMore
      return false
    }
  }

  /// From the next job on the worker goes before all ordinary programs, as `Loop.takeRealtimeShare` has the loop do.
  @Loop
  public func takeRealtimeShare() {
    submit { [self] in own.share = RealtimeShare(.worker) }
  }

  /// Runs `body` once the worker has nothing else to do: for what may take milliseconds and nobody waits for. To be called
  /// by a job, on the worker.
  public func whenIdle(_ body: @escaping () -> Void) {
    precondition(own.thread == pthread_self(), "only jobs leave something for an idle worker")
    if own.idleJobs.count == Self.idleJobLimit { own.idleJobs.removeFirst()() }
    own.idleJobs.append(body)
  }

  /// Hands a job over. The worker is woken once the loop waits: for all that it was given until then together.
  @Loop @usableFromInline
  func submit(_ job: @escaping @Sendable () -> Void) {
    if jobs.push(job) { Loop.beforeWait { [self] in wake() } }
  }

  private func wake() {
    var one: UInt64 = 1
    _ = Glibc.write(wakeDescriptor.raw, &one, 8)
  }

  private func serve() -> Never {
    agentd_thread_name("agentd-worker")
    agentd_prefer_short_turns()
    own.thread = pthread_self()
    while true {
      jobs.drain { job in
        job()
        own.share?.charge()
      }
      own.share?.renew()
      // One at a time: a job that comes meanwhile waits for no more than that one.
      guard own.idleJobs.isEmpty else {
        if !jobs.hasMore { own.idleJobs.removeFirst()() }
        own.share?.charge()
        continue
      }
      guard jobs.sleep() else { continue }
      var count: UInt64 = 0
      _ = Glibc.read(wakeDescriptor.raw, &count, 8)
    }
  }
}
