// The thread everything runs on: takes jobs, waits for the kernel, and hands out what became ready.

internal import CSupport
internal import Glibc
internal import Synchronization
internal import SystemPackage

/// Runs Swift's jobs and the kernel's events on the one thread that called `run`.
///
/// It is serial executor and task executor at once, so that neither an actor hop nor a resumed continuation ever
/// leaves for Swift's global pool, whose threads then never start.
///
/// Sendable without checking: everything but `foreignJobs`, `owner` and `wakeDescriptor` belongs to the thread
/// that runs the loop, and each entry point of the rest asserts that it is on it.
final class LoopExecutor: SerialExecutor, TaskExecutor, @unchecked Sendable {
  /// Events taken from the kernel before any of them is handled.
  private static let batchCapacity = 256
  /// Rounds of jobs between two looks at the kernel.
  private static let roundsPerTurn = 32

  private let owner = Atomic<UInt>(0)
  private let foreignJobs = TransferStack<ForeignJob>()
  private let wakeDescriptor: Descriptor

  private var readyJobs: [UnownedJob] = []
  private var runningJobs: [UnownedJob] = []
  private var yielded: [CheckedContinuation<Void, Never>] = []
  private var deferred: [@Loop () -> Void] = []
  private var runningDeferred: [@Loop () -> Void] = []
  private var backend: (any Backend)?
  private var registrations: [Registration] = []
  private var freeSlots: [Int] = []
  private var stopped = false
  private var share: RealtimeShare?
  let timers = TimerHeap()

  /// What another thread hands in.
  private enum ForeignJob {
    case job(UnownedJob)
    case body(@Sendable @Loop () -> Void)
  }

  /// One slot of the registration table. Its generation is part of the token, so an event of an earlier holder of
  /// the slot is recognised and dropped.
  private struct Registration {
    var generation: UInt32
    var place: FilePlace
    var interest: Interest
    var watch: Unmanaged<Watch>?
    /// Whether the backend has it: one that was made for `once` is spent by its first event.
    var isArmed: Bool
  }

  init() {
    let fd = agentd_eventfd(true)
    precondition(fd >= 0, "the kernel refuses an eventfd: \(Errno(rawValue: -fd))")
    wakeDescriptor = Descriptor(owning: fd)
  }

  // MARK: Executors

  func enqueue(_ job: UnownedJob) {
    if isOnLoop {
      readyJobs.append(job)
    } else if foreignJobs.push(.job(job)) {
      wake()
    }
  }

  /// Runs `body` on the loop, from another thread. No task is made for it.
  func enqueue(_ body: @escaping @Sendable @Loop () -> Void) {
    if foreignJobs.push(.body(body)) { wake() }
  }

  func enqueue(_ job: consuming ExecutorJob) { enqueue(UnownedJob(job)) }

  func asUnownedSerialExecutor() -> UnownedSerialExecutor { UnownedSerialExecutor(ordinary: self) }

  func checkIsolated() { precondition(isOnLoop, "this code runs on the loop's thread only") }

  var isOnLoop: Bool { owner.load(ordering: .relaxed) == UInt(pthread_self()) }

  private func wake() {
    var one: UInt64 = 1
    // The counter is never read, and it would take 2^64 writes to fill.
    _ = Glibc.write(wakeDescriptor.raw, &one, 8)
  }

  // MARK: Registrations

  func register(_ watch: Watch, _ place: FilePlace, interest: Interest) throws(SystemError) -> UInt64 {
    checkIsolated()
    guard let backend else { preconditionFailure("the loop is not running") }
    let slot = freeSlots.popLast() ?? registrations.count
    if slot == registrations.count {
      registrations.append(
        Registration(generation: 0, place: place, interest: [], watch: nil, isArmed: false))
    }
    // Generations start at 1, so that no token is AGENTD_TOKEN_NONE.
    registrations[slot].generation = registrations[slot].generation &+ 1
    if registrations[slot].generation == 0 { registrations[slot].generation = 1 }
    let token = UInt64(registrations[slot].generation) << 32 | UInt64(slot)
    do throws(SystemError) {
      try backend.add(place, interest, token: token)
    } catch {
      freeSlots.append(slot)
      throw error
    }
    registrations[slot].place = place
    registrations[slot].interest = interest
    registrations[slot].watch = Unmanaged.passUnretained(watch)
    registrations[slot].isArmed = true
    return token
  }

  func rearm(_ token: UInt64) {
    checkIsolated()
    let slot = Int(token & 0xffff_ffff)
    guard !registrations[slot].isArmed else { return }
    do throws(SystemError) {
      try backend?.add(registrations[slot].place, registrations[slot].interest, token: token)
    } catch {
      // As for a removal: only a ring that has been misused refuses it.
      preconditionFailure("a registration was not renewed: \(error)")
    }
    registrations[slot].isArmed = true
  }

  func deregister(_ token: UInt64) {
    checkIsolated()
    let slot = Int(token & 0xffff_ffff)
    guard registrations[slot].generation == UInt32(token >> 32), registrations[slot].watch != nil else {
      return
    }
    if registrations[slot].isArmed { backend?.remove(registrations[slot].place, token: token) }
    registrations[slot].watch = nil
    freeSlots.append(slot)
  }

  func settle() { backend?.settle() }

  // MARK: Stowed files

  func stow(_ fd: Int32) -> Int32? { backend?.stow(fd) }
  func reopen(_ slot: Int32) -> Int32? { backend?.reopen(slot) }
  func discard(_ slot: Int32) { backend?.discard(slot) }

  // MARK: The loop

  /// Runs jobs and events on the calling thread until `stop`.
  func run(on backend: any Backend) throws(SystemError) {
    let (free, _) = owner.compareExchange(expected: 0, desired: UInt(pthread_self()), ordering: .relaxed)
    precondition(free, "the loop runs on one thread")
    defer { owner.store(0, ordering: .relaxed) }
    self.backend = backend
    defer { self.backend = nil }
    try backend.add(.descriptor(wakeDescriptor.raw), .read, token: Self.wakeToken)
    try Loop.assumeIsolated { () throws(SystemError) in try timers.open() }
    defer { Loop.assumeIsolated { timers.close() } }
    let events = UnsafeMutableBufferPointer<agentd_event>.allocate(capacity: Self.batchCapacity)
    defer { events.deallocate() }
    stopped = false
    while true {
      takeForeignJobs()
      runReadyJobs()
      runDeferred()
      if stopped { break }
      Loop.assumeIsolated { timers.arm() }
      // From `sleep` on, and not before, who hands in a job writes to the eventfd.
      let block = readyJobs.isEmpty && yielded.isEmpty && foreignJobs.sleep()
      share?.renew()
      let count = try backend.wait(events, block: block)
      for event in events[..<count] { try dispatch(event) }
      resumeYielded()
    }
    backend.remove(.descriptor(wakeDescriptor.raw), token: Self.wakeToken)
  }

  func takeRealtimeShare() -> Bool {
    checkIsolated()
    var share = RealtimeShare(.loop)
    share.renew()
    guard share.isFirst else { return false }
    self.share = share
    return true
  }

  func beforeWait(_ body: @escaping @Loop () -> Void) {
    checkIsolated()
    deferred.append(body)
  }

  private func runDeferred() {
    // What they defer in their turn would else wait for the next event.
    while !deferred.isEmpty {
      swap(&deferred, &runningDeferred)
      Loop.assumeIsolated { for body in runningDeferred { body() } }
      runningDeferred.removeAll(keepingCapacity: true)
    }
  }

  func resumeNextTurn(_ continuation: CheckedContinuation<Void, Never>) {
    checkIsolated()
    yielded.append(continuation)
  }

  private func resumeYielded() {
    let resumed = yielded
    yielded = []
    for continuation in resumed { continuation.resume() }
  }

  func stop() {
    checkIsolated()
    stopped = true
  }

  /// The highest generation and slot: never given to a registration.
  private static let wakeToken = UInt64.max

  /// Runs what is ready and what that makes ready, for a bounded number of rounds: a chain of jobs cannot keep the
  /// kernel's events waiting.
  private func runReadyJobs() {
    let (serial, task) = (asUnownedSerialExecutor(), asUnownedTaskExecutor())
    for _ in 0..<Self.roundsPerTurn where !readyJobs.isEmpty {
      swap(&readyJobs, &runningJobs)
      for job in runningJobs { job.runSynchronously(isolatedTo: serial, taskExecutor: task) }
      runningJobs.removeAll(keepingCapacity: true)
    }
  }

  private func takeForeignJobs() {
    foreignJobs.drain {
      switch $0 {
      case .job(let job): readyJobs.append(job)
      case .body(let body): Loop.assumeIsolated(body)
      }
    }
  }

  private func dispatch(_ event: agentd_event) throws(SystemError) {
    guard event.token != Self.wakeToken else {
      // Nothing else is to be done: each turn takes the jobs that were handed in. The counter is never read, because
      // each write is an edge.
      if event.rearm { try backend?.add(.descriptor(wakeDescriptor.raw), .read, token: Self.wakeToken) }
      return
    }
    let slot = Int(event.token & 0xffff_ffff)
    let registration = registrations[slot]
    guard registration.generation == UInt32(event.token >> 32), let watch = registration.watch else { return }
    if event.rearm {
      if registration.interest.contains(.once) {
        registrations[slot].isArmed = false
      } else {
        try backend?.add(registration.place, registration.interest, token: event.token)
      }
    }
    Watch.delivery(watch.takeUnretainedValue(), Interest(rawValue: event.ready))
  }
}
