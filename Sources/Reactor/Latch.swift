// An event that happens once, and that any number of tasks wait for.

/// Opens once. Whoever waits is resumed then, whoever comes later does not wait.
@Loop
public final class Latch {
  private var waiting: [UnsafeContinuation<Void, Never>] = []
  /// Whether it has happened.
  public private(set) var isOpen = false

  /// A closed latch.
  public init() {}

  /// Lets everybody through, now and later. Opening it again does nothing.
  public func open() {
    guard !isOpen else { return }
    isOpen = true
    let resumed = waiting
    waiting = []
    for continuation in resumed { continuation.resume() }
  }

  /// Returns when the latch is open.
  public func wait() async {
    guard !isOpen else { return }
    await withUnsafeContinuation { continuation in
      // Asked again: a task that prefers no executor has left the loop and come back to it to get here.
      if isOpen { continuation.resume() } else { waiting.append(continuation) }
    }
  }
}
