// One-shot timers of the monotonic clock, all of them on a single timerfd.

internal import CSupport
internal import Glibc

/// Calls a closure on the loop once, at or after a moment, unless it is cancelled first.
@Loop
public final class Timer {
  /// When it fires.
  public let due: Instant
  fileprivate var heapIndex: Int?
  fileprivate var handler: (@Loop () -> Void)?

  /// - Parameters:
  ///   - due: when to fire. A moment that has passed fires at the loop's next turn.
  ///   - handler: what to do then.
  public init(at due: Instant, _ handler: @escaping @Loop () -> Void) {
    self.due = due
    self.handler = handler
    Loop.executor.timers.insert(self)
  }

  /// - Parameters:
  ///   - delay: how long from now.
  ///   - handler: what to do then.
  public convenience init(after delay: Duration, _ handler: @escaping @Loop () -> Void) {
    self.init(at: Loop.now + delay, handler)
  }

  /// Never fires after this. Cancelling a timer that has fired does nothing.
  public func cancel() {
    handler = nil
    Loop.executor.timers.remove(self)
  }

  /// Suspends for a duration.
  public static func sleep(_ delay: Duration) async {
    await withCheckedContinuation { continuation in
      _ = Timer(after: delay) { continuation.resume() }
    }
  }
}

/// The timers that have not fired, earliest first.
@Loop
final class TimerHeap {
  private var heap: [Timer] = []
  private var fd: Descriptor?
  private var watch: Watch?
  private var armed: Instant?

  nonisolated init() {}

  func open() throws(SystemError) {
    let raw = try SystemError.check("timerfd_create", agentd_timerfd())
    fd = Descriptor(owning: raw)
    armed = nil
    watch = try Watch(raw, .read) { _ in self.fire() }
  }

  func close() {
    watch?.close()
    watch = nil
    fd = nil
  }

  /// Tells the kernel the earliest moment, when it has become earlier or when there is none any more.
  ///
  /// One that has become later is told when the armed one has come: most timers are deadlines, which are cancelled, and a crowd
  /// of them would cost a call each. So an idle daemon is woken for nothing once.
  func arm() {
    let earliest = heap.first?.due
    guard earliest != armed, let raw = fd?.raw else { return }
    if let earliest, let armed, earliest > armed { return }
    // 0 disarms, so a moment at the clock's very start is moved by a nanosecond.
    let result = agentd_timerfd_set(raw, earliest.map { max($0.nanoseconds, 1) } ?? 0)
    precondition(result >= 0, "the kernel refused a timer")
    armed = earliest
  }

  private func fire() {
    var expirations: UInt64 = 0
    if let raw = fd?.raw { _ = Glibc.read(raw, &expirations, 8) }
    armed = nil
    let now = Loop.now
    while let first = heap.first, first.due <= now {
      remove(first)
      let handler = first.handler
      first.handler = nil
      handler?()
    }
  }

  // MARK: A binary heap whose elements know their place

  func insert(_ timer: Timer) {
    timer.heapIndex = heap.count
    heap.append(timer)
    rise(heap.count - 1)
  }

  func remove(_ timer: Timer) {
    guard let index = timer.heapIndex else { return }
    timer.heapIndex = nil
    let last = heap.removeLast()
    guard last !== timer else { return }
    place(last, at: index)
    rise(index)
    sink(last.heapIndex ?? index)
  }

  private func place(_ timer: Timer, at index: Int) {
    heap[index] = timer
    timer.heapIndex = index
  }

  private func rise(_ start: Int) {
    var index = start
    let timer = heap[index]
    while index > 0, timer.due < heap[(index - 1) / 2].due {
      place(heap[(index - 1) / 2], at: index)
      index = (index - 1) / 2
    }
    place(timer, at: index)
  }

  private func sink(_ start: Int) {
    var index = start
    let timer = heap[index]
    while true {
      var child = 2 * index + 1
      guard child < heap.count else { break }
      if child + 1 < heap.count, heap[child + 1].due < heap[child].due { child += 1 }
      guard heap[child].due < timer.due else { break }
      place(heap[child], at: index)
      index = child
    }
    place(timer, at: index)
  }
}
