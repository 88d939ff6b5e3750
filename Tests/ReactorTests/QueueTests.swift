// What tasks tell each other by: latches, semaphores, inboxes, and the stack that crosses threads.

import Glibc
import TestSupport
import Testing

@testable import Reactor

@Suite("Latch")
struct LatchTests {
  init() { LoopThread.start() }

  @Test("it lets everybody through, who waits and who comes later, once it is open") @Loop
  func opens() async {
    let latch = Latch()
    var passed = 0
    let waiting = (0..<10).map { _ in
      Loop.spawn {
        await latch.wait()
        passed += 1
      }
    }
    // Their turns come before this task's next one.
    await Loop.spawn {}.value
    #expect(passed == 0)
    #expect(!latch.isOpen)
    latch.open()
    latch.open()
    for task in waiting { await task.value }
    await latch.wait()
    #expect(passed == 10)
    #expect(latch.isOpen)
  }
}

@Suite("Semaphore")
struct SemaphoreTests {
  private struct Refused: Error {}

  init() { LoopThread.start() }

  @Test("no more than its permits are held, and whoever waits longest is next") @Loop
  func order() async {
    let semaphore = Semaphore(permits: 3)
    var inside = 0
    var most = 0
    var order: [Int] = []
    let tasks = (0..<50).map { number in
      Loop.spawn {
        await semaphore.withPermit {
          inside += 1
          most = max(most, inside)
          order.append(number)
          await Loop.spawn {}.value
          inside -= 1
        }
      }
    }
    for task in tasks { await task.value }
    #expect(most == 3)
    #expect(inside == 0)
    #expect(order == Array(0..<50))
  }

  @Test("a permit comes back from a body that throws") @Loop
  func throwing() async {
    let semaphore = Semaphore(permits: 1)
    for _ in 0..<3 {
      await #expect(throws: Refused.self) { try await semaphore.withPermit { throw Refused() } }
    }
    #expect(await semaphore.withPermit { 7 } == 7)
  }

  @Test("a permit that is given back goes to who waits, not to who comes at that moment") @Loop
  func noOvertaking() async {
    let semaphore = Semaphore(permits: 1)
    let gate = Latch()
    var order: [String] = []
    let first = Loop.spawn { await semaphore.withPermit { await gate.wait() } }
    await Loop.spawn {}.value
    let second = Loop.spawn { await semaphore.withPermit { order.append("waited") } }
    await Loop.spawn {}.value
    gate.open()
    await first.value
    await semaphore.withPermit { order.append("came later") }
    await second.value
    #expect(order == ["waited", "came later"])
  }
}

@Suite("Inbox")
struct InboxTests {
  init() { LoopThread.start() }

  @Test("messages are read in the order they were posted in, waited for or not") @Loop
  func order() async {
    let inbox = Inbox<Int>(capacity: 10)
    for number in 0..<10 { inbox.post(number) }
    for number in 0..<10 { #expect(await inbox.next() == number) }
    let reading = Task { @Loop in [await inbox.next(), await inbox.next(), await inbox.next()] }
    await Loop.spawn {}.value
    for number in 0..<3 { inbox.post(number) }
    #expect(await reading.value == [0, 1, 2])
  }

  @Test("a post beyond its capacity is a fault of the program", .exitTest)
  func overflow() async {
    await #expect(processExitsWith: .failure) {
      LoopThread.start()
      await overflowInbox()
    }
  }
}

@Loop private func overflowInbox() {
  let inbox = Inbox<Int>(capacity: 1)
  inbox.post(1)
  inbox.post(2)
}

@Suite("TransferStack")
struct TransferStackTests {
  private final class Element: Sendable {
    let thread: Int
    let number: Int
    init(_ thread: Int, _ number: Int) {
      self.thread = thread
      self.number = number
    }
  }

  private final class Producer: Sendable {
    static let elements = 20_000
    let thread: Int
    let stack: TransferStack<Element>
    let wake: Int32

    init(_ thread: Int, _ stack: TransferStack<Element>, _ wake: Int32) {
      self.thread = thread
      self.stack = stack
      self.wake = wake
    }

    func run() {
      for number in 0..<Self.elements where stack.push(Element(thread, number)) {
        precondition(Glibc.write(wake, "!", 1) == 1)
      }
    }
  }

  @Test("what many threads push arrives once, in each one's order, and who sleeps is woken")
  func threads() throws {
    let stack = TransferStack<Element>()
    stack.drain { _ in }
    let wake = try makePipe()
    defer {
      close(wake.read)
      close(wake.write)
    }
    let threads = try (0..<4).map { number in
      var thread = pthread_t()
      let producer = Unmanaged.passRetained(Producer(number, stack, wake.write))
      let result = pthread_create(
        &thread, nil,
        { argument in
          argument.map { Unmanaged<Producer>.fromOpaque($0).takeRetainedValue().run() }
          return nil
        }, producer.toOpaque())
      guard result == 0 else { throw CallFailed("pthread_create", result) }
      return thread
    }
    var next = [Int](repeating: 0, count: threads.count)
    // Sleeps until it is woken, as the worker does: a wake-up that was missed would leave it here, and one too many
    // would be read by nobody.
    var sleeps = 0
    var woken = 0
    while next.reduce(0, +) < threads.count * Producer.elements {
      if stack.sleep() {
        sleeps += 1
        var bytes = [UInt8](repeating: 0, count: 64)
        woken += read(wake.read, &bytes, bytes.count)
      }
      stack.drain {
        #expect($0.number == next[$0.thread])
        next[$0.thread] += 1
      }
    }
    for thread in threads { pthread_join(thread, nil) }
    #expect(woken == sleeps)
    #expect(next == [Int](repeating: Producer.elements, count: threads.count))
  }

  @Test("who drains is told whether more waits, of what was taken and of what came since")
  func more() {
    let stack = TransferStack<Int>()
    for number in 1...3 { _ = stack.push(number) }
    var told: [Bool] = []
    stack.drain { number in
      told.append(stack.hasMore)
      guard number == 3 else { return }
      _ = stack.push(4)
      told.append(stack.hasMore)
    }
    #expect(told == [true, true, false, true])
    stack.drain { _ in told.append(stack.hasMore) }
    #expect(told == [true, true, false, true, false])
  }

  @Test("only the first push after it went to sleep wakes it, and it does not sleep over what is there")
  func wakes() {
    let stack = TransferStack<Int>()
    // It has not begun, which is as good as asleep.
    #expect(stack.push(1))
    #expect(!stack.push(2))
    #expect(!stack.sleep())
    var taken: [Int] = []
    stack.drain { taken.append($0) }
    #expect(taken == [1, 2])
    // It is awake: it looks again before it sleeps.
    #expect(!stack.push(3))
    #expect(!stack.sleep())
    stack.drain { taken.append($0) }
    #expect(stack.sleep())
    #expect(stack.sleep())
    #expect(stack.push(4))
    #expect(!stack.push(5))
    stack.drain { taken.append($0) }
    stack.drain { _ in Issue.record("there is nothing more") }
    #expect(taken == [1, 2, 3, 4, 5])
  }

  @Test("what nobody took is released with it")
  func releases() {
    weak var element: Element?
    do {
      let stack = TransferStack<Element>()
      let pushed = Element(0, 0)
      element = pushed
      #expect(stack.push(pushed))
      #expect(!stack.push(pushed))
      #expect(element != nil)
    }
    #expect(element == nil)
  }
}
