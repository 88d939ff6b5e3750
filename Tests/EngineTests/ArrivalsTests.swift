// Waiting for sessions that are on their way: for how long, and without keeping the loop.

import Reactor
import TestSupport
import Testing

@testable import Engine

@Suite("Arrivals")
struct ArrivalsTests {
  init() { LoopThread.start() }

  @Loop private final class Trace {
    var hasRun = false
  }

  @Test("who waits gives way, though somebody before it has waited for as long as it may") @Loop
  func severalWait() async {
    let arrivals = Arrivals(patience: .seconds(3600))
    let never = arrivals.expect()
    arrivals.patience = .milliseconds(1)
    await arrivals.gather()
    arrivals.patience = .milliseconds(50)
    let trace = Trace()
    let second = Loop.spawn {
      await arrivals.gather()
      return trace.hasRun
    }
    Loop.spawn { trace.hasRun = true }
    #expect(await second.value)
    // And nobody waits when the last has come.
    arrivals.patience = .seconds(3600)
    let third = Loop.spawn { await arrivals.gather() }
    Loop.spawn { never.end() }
    await third.value
    await arrivals.gather()
  }
}
