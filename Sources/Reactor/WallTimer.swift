// A timer of the wall clock, which also tells when somebody sets that clock.

internal import CSupport
public import Time

/// One moment of the wall clock to wait for, on a timerfd of its own. What is not armed wakes nobody.
@Loop
public final class WallTimer {
  /// Why the handler is called.
  public enum Event: Sendable {
    /// The moment has come, or had passed when it was set.
    case due
    /// The clock was set, or the machine slept: the moment may be nearer, farther or behind. Nothing is armed any more.
    case clockSet
  }

  private var fd: Descriptor?
  private var watch: Watch?
  private let handler: @Loop (Event) -> Void

  /// - Parameter handler: called on the loop, once for each moment that was set.
  public init(_ handler: @escaping @Loop (Event) -> Void) throws(SystemError) {
    self.handler = handler
    let raw = try SystemError.check("timerfd_create", agentd_wall_timerfd())
    fd = Descriptor(owning: raw)
    watch = try Watch(raw, .read) { [weak self] _ in self?.receive() }
  }

  /// Waits for a moment in place of the one before; nil for none.
  ///
  /// - Parameter moment: one before the epoch counts as one that has passed.
  public func set(_ moment: Timestamp?) {
    guard let raw = fd?.raw else { return }
    // 0 disarms, so the epoch itself is moved by a nanosecond.
    let result = agentd_wall_timerfd_set(raw, moment.map { max($0.nanosecondsSinceEpoch, 1) } ?? 0)
    precondition(result >= 0, "the kernel refused a timer")
    // The kernel has told it now and will not tell it again. In a turn of its own: the caller may be the handler.
    if result == 1 { Loop.spawn { self.tell(.clockSet) } }
  }

  /// Ends it. The handler is not called after that.
  public func close() {
    watch?.close()
    watch = nil
    fd = nil
  }

  isolated deinit { close() }

  private func receive() {
    guard let raw = fd?.raw else { return }
    let result = agentd_wall_timerfd_read(raw)
    if result >= 0 { tell(result == 1 ? .due : .clockSet) }
  }

  private func tell(_ event: Event) {
    guard fd != nil else { return }
    handler(event)
  }
}
