// The timer of the wall clock.

import Glibc
import TestSupport
import Testing
import Time

@testable import Reactor

/// One after the other: a clock that one test sets is told to the timers of all.
@Suite("WallTimer", .serialized)
struct WallTimerTests {
  init() { LoopThread.start() }

  @Test("it fires at its moment and not before")
  @Loop func fires() async throws {
    let events = Inbox<WallTimer.Event>(capacity: 4)
    let timer = try WallTimer { events.post($0) }
    defer { timer.close() }
    let moment = Loop.wallClock + .milliseconds(20)
    timer.set(moment)
    #expect(await events.next() == .due)
    #expect(Loop.wallClock >= moment)
  }

  @Test("a moment that has passed fires at once", arguments: [-1, -3600 * 24 * 365 * 70])
  @Loop func passed(seconds: Int) async throws {
    let events = Inbox<WallTimer.Event>(capacity: 4)
    let timer = try WallTimer { events.post($0) }
    defer { timer.close() }
    timer.set(Loop.wallClock + .seconds(seconds))
    #expect(await events.next() == .due)
  }

  @Test("a moment that another one replaced, or that was taken back, does not fire") @Loop
  func replaced() async throws {
    let events = Inbox<String>(capacity: 4)
    let one = try WallTimer { _ in events.post("one") }
    let two = try WallTimer { _ in events.post("two") }
    defer { for timer in [one, two] { timer.close() } }
    let soon = Loop.wallClock + .milliseconds(5)
    let later = soon + .milliseconds(20)
    one.set(soon)
    two.set(soon)
    // The moment may have passed by now in the kernel, but no turn of the loop was between.
    one.set(nil)
    two.set(later)
    #expect(await events.next() == "two")
    #expect(Loop.wallClock >= later)
    // What was taken back would have come before this.
    two.set(Loop.wallClock)
    #expect(await events.next() == "two")
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
    timer.set(Loop.wallClock + .seconds(3600))
    try setClockToNow()
    #expect(await events.next() == .clockSet)
    timer.set(Loop.wallClock)
    #expect(await events.next() == .due)
  }

  @Test("it tells of a clock that was set while nothing was armed", .enabled(if: mayGetClockSet))
  @Loop func clockSetBetween() async throws {
    let events = Inbox<WallTimer.Event>(capacity: 4)
    let timer = try WallTimer { events.post($0) }
    defer { timer.close() }
    timer.set(Loop.wallClock)
    #expect(await events.next() == .due)
    try setClockToNow()
    // Before the loop has had a turn: the kernel tells as the timer is set.
    timer.set(Loop.wallClock + .seconds(3600))
    #expect(await events.next() == .clockSet)
  }
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
