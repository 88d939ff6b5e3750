// The timer of the wall clock.

import Glibc
import TestSupport
import Testing
import Time

@testable import Reactor

/// One after the other: a clock that one test sets is told to the timers of all. Others on this machine may set it as well,
/// at any time: a timer is armed anew then, as whoever uses it does.
@Suite("WallTimer", .serialized)
struct WallTimerTests {
  init() { LoopThread.start() }

  @Test("it fires at its moment and not before")
  @Loop func fires() async throws {
    let events = Inbox<WallTimer.Event>(capacity: 4)
    let timer = try WallTimer { events.post($0) }
    defer { timer.close() }
    let moment = Loop.wallClock + .milliseconds(20)
    await due(timer, events, at: moment)
    #expect(Loop.wallClock >= moment)
  }

  @Test("a moment that has passed fires at once", arguments: [-1, -3600 * 24 * 365 * 70])
  @Loop func passed(seconds: Int) async throws {
    let events = Inbox<WallTimer.Event>(capacity: 4)
    let timer = try WallTimer { events.post($0) }
    defer { timer.close() }
    await due(timer, events, at: Loop.wallClock + .seconds(seconds))
  }

  @Test("a moment that another one replaced, or that was taken back, does not fire") @Loop
  func replaced() async throws {
    let events = Inbox<WallTimer.Event>(capacity: 4)
    var oneWasDue = false
    let one = try WallTimer { if $0 == .due { oneWasDue = true } }
    let two = try WallTimer { events.post($0) }
    defer { for timer in [one, two] { timer.close() } }
    let soon = Loop.wallClock + .milliseconds(5)
    let later = soon + .milliseconds(20)
    one.set(soon)
    two.set(soon)
    // The moment may have passed by now in the kernel, but no turn of the loop was between.
    one.set(nil)
    await due(two, events, at: later)
    #expect(Loop.wallClock >= later)
    // What was taken back would have come before this.
    await due(two, events, at: Loop.wallClock)
    #expect(!oneWasDue)
  }

  @Test("a closed one is silent and gives its descriptor back", .exitTest)
  func closed() async {
    await #expect(processExitsWith: .success) {
      LoopThread.startAlone()
      await closeOne()
    }
  }

  @Test("it tells when the clock is set, once, and fires afterwards", .enabled(if: mayGetClockSet))
  @Loop func clockSet() async throws {
    let events = Inbox<WallTimer.Event>(capacity: 4)
    let timer = try WallTimer { events.post($0) }
    defer { timer.close() }
    // Again where it tells so once more: somebody else may have set the clock in this very moment.
    var rounds = 0
    repeat {
      rounds += 1
      timer.set(Loop.wallClock + .seconds(3600))
      try setClockToNow()
      #expect(await events.next() == .clockSet)
      timer.set(Loop.wallClock)
    } while await events.next() != .due && rounds < 10
    #expect(rounds < 10)
  }

  @Test("it tells of a clock that was set while nothing was armed", .enabled(if: mayGetClockSet))
  @Loop func clockSetBetween() async throws {
    let events = Inbox<WallTimer.Event>(capacity: 4)
    let timer = try WallTimer { events.post($0) }
    defer { timer.close() }
    await due(timer, events, at: Loop.wallClock)
    try setClockToNow()
    // Before the loop has had a turn: the kernel tells as the timer is set.
    timer.set(Loop.wallClock + .seconds(3600))
    #expect(await events.next() == .clockSet)
  }
}

/// Arms a timer and returns when it says that its moment has come.
@Loop private func due(
  _ timer: WallTimer, _ events: Inbox<WallTimer.Event>, at moment: Timestamp
) async {
  for _ in 0..<100 {
    timer.set(moment)
    if await events.next() == .due { return }
  }
  Issue.record("it tells of nothing but a clock that was set")
}

@Loop private func closeOne() async {
  let before = openDescriptors()
  do throws(SystemError) {
    let timer = try WallTimer { _ in fatalError("a closed timer fired") }
    timer.set(Loop.wallClock)
    timer.close()
  } catch {
    fatalError("\(error)")
  }
  await Timer.sleep(.milliseconds(1))
  guard openDescriptors() == before else { fatalError("a descriptor is left") }
}

/// Setting the clock takes CAP_SYS_TIME. It is set to what it shows, which moves nothing and is told like any other time.
private let mayGetClockSet: Bool = {
  var now = timespec()
  clock_gettime(CLOCK_REALTIME, &now)
  return clock_settime(CLOCK_REALTIME, &now) == 0
}()

private func setClockToNow() throws {
  var now = timespec()
  clock_gettime(CLOCK_REALTIME, &now)
  guard clock_settime(CLOCK_REALTIME, &now) == 0 else { throw CallFailed("clock_settime", errno) }
}
