// Which sessions are on their way to ask for a mirror, so that a crowd that comes at once shares one fetch.

public import Reactor

/// Counts those that are on their way, each for a moment at most.
@Loop
public final class Arrivals {
  /// How long a fetch may be put off for sessions that are on their way, and for each of them.
  var patience: Duration
  private var count = 0
  private var none = Latch()

  init(patience: Duration) {
    self.patience = patience
  }

  /// One that is on its way.
  @Loop public final class Arrival {
    private weak var arrivals: Arrivals?
    private var patience: Timer?

    fileprivate init(_ arrivals: Arrivals) {
      self.arrivals = arrivals
      arrivals.count += 1
      patience = Timer(after: arrivals.patience) { self.end() }
    }

    /// It has asked, or will not. Telling it again does nothing.
    public func end() {
      guard let patience else { return }
      patience.cancel()
      self.patience = nil
      arrivals?.arrive()
    }
  }

  /// One more is on its way.
  func expect() -> Arrival { Arrival(self) }

  private func arrive() {
    count -= 1
    guard count == 0 else { return }
    none.open()
    none = Latch()
  }

  /// Returns when none is on its way. Where none is, at once.
  func gather() async {
    let end = Loop.now + patience
    while count > 0, Loop.now < end {
      let latch = none
      let timer = Timer(at: end) {
        latch.open()
        // Others still wait, each as long as it may, and one that is open keeps nobody waiting.
        if self.none === latch { self.none = Latch() }
      }
      await latch.wait()
      timer.cancel()
    }
  }
}
