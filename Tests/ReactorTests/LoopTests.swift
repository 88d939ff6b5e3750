// The loop itself: timers, the worker, streams, files and processes of others.

import Glibc
import Reactor
import Synchronization
import TestSupport
import Testing

@Suite("Loop")
struct LoopTests {
  init() { LoopThread.start() }

  @Test("timers fire in the order of their moments, whatever the order they were made in") @Loop
  func timerOrder() async {
    let start = Loop.now
    let inbox = Inbox<Int>(capacity: 100)
    let order = (0..<100).shuffled()
    let timers = order.map { index in
      Timer(at: start + .milliseconds(20) + .microseconds(index)) { inbox.post(index) }
    }
    var fired: [Int] = []
    for _ in order { fired.append(await inbox.next()) }
    #expect(fired == Array(0..<100))
    #expect(timers.allSatisfy { $0.due <= Loop.now })
  }

  @Test("a cancelled timer never fires") @Loop
  func timerCancel() async {
    let inbox = Inbox<String>(capacity: 2)
    let cancelled = Timer(after: .milliseconds(1)) { inbox.post("cancelled") }
    _ = Timer(after: .milliseconds(5)) { inbox.post("kept") }
    cancelled.cancel()
    #expect(await inbox.next() == "kept")
  }

  @Test("what the worker returns comes back on the loop") @Loop
  func worker() async throws {
    let worker = try Worker()
    let thread = await worker.run { UInt(pthread_self()) }
    #expect(thread != UInt(pthread_self()))
    var sum = 0
    for index in 0..<1000 { sum += await worker.run { index } }
    #expect(sum == 499_500)
  }

  @Test("what a job leaves for an idle worker waits for the jobs after it, and no more than a few wait")
  @Loop
  func idle() async throws {
    let worker = try Worker()
    let order = Mutex<[Int]>([])
    let pipe = try makePipe()
    defer { for end in [pipe.read, pipe.write] { close(end) } }
    let first = Loop.spawn {
      await worker.run {
        // Until all the others are handed in.
        var byte: UInt8 = 0
        _ = read(pipe.read, &byte, 1)
        for index in 0..<66 { worker.whenIdle { order.withLock { $0.append(index) } } }
        order.withLock { $0.append(1000) }
      }
    }
    let second = Loop.spawn { await worker.run { order.withLock { $0.append(1001) } } }
    await Loop.yield()
    #expect(write(pipe.write, "x", 1) == 1)
    await first.value
    await second.value
    // Jobs are done in their order, and nothing is idle before the last of them.
    while order.withLock({ $0.count }) < 68 { await worker.run {} }
    #expect(order.withLock { $0 } == [0, 1, 1000, 1001] + Array(2..<66))
  }

  @Test("a job of many steps is one job while it is alone, and makes way for another after a step") @Loop
  func steps() async throws {
    let worker = try Worker()
    let taken = Atomic<Int>(0)
    #expect(await worker.runSteps { () throws(Never) in taken.add(1, ordering: .relaxed).newValue == 1000 })
    #expect(taken.load(ordering: .relaxed) == 1000)
    let pipe = try makePipe()
    defer { for end in [pipe.read, pipe.write] { close(end) } }
    let blocking = Loop.spawn {
      await worker.run {
        var byte: UInt8 = 0
        _ = read(pipe.read, &byte, 1)
      }
    }
    let endless: @Sendable () throws(Never) -> Bool = {
      taken.add(1, ordering: .relaxed)
      return false
    }
    let steps = Loop.spawn { await worker.runSteps(endless) }
    let other = Loop.spawn { await worker.run {} }
    // All three are handed in.
    await Loop.yield()
    #expect(write(pipe.write, "x", 1) == 1)
    await blocking.value
    #expect(await !steps.value)
    await other.value
    #expect(taken.load(ordering: .relaxed) == 1001)
    // One that comes while it is at work.
    let more = Loop.spawn { await worker.runSteps(endless) }
    while taken.load(ordering: .relaxed) == 1001 { await Loop.yield() }
    await worker.run {}
    #expect(await !more.value)
  }

  @Test("a write to a watched file is told") @Loop
  func fileWatcher() async throws {
    let scratch = Scratch()
    defer { scratch.remove() }
    let path = scratch.path + "/file"
    let fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
    defer { close(fd) }
    let watcher = try FileWatcher()
    defer { watcher.close() }
    let changed = Latch()
    let number = try watcher.watch(path) { changed.open() }
    #expect(write(fd, "x", 1) == 1)
    await changed.wait()
    watcher.forget(number)
  }

  @Test("the exit code of a process that is not our child is learnt from its pidfd") @Loop
  func foreignProcess() async throws {
    // The intermediate shell is our child; `sh` behind it becomes somebody else's when the first one ends.
    let scratch = Scratch()
    defer { scratch.remove() }
    let fifo = scratch.path + "/go"
    let gate = try makeFIFO(fifo)
    let script = "sh -c 'read line <\(fifo); exit 7' >/dev/null 2>&1 & echo $!"
    let result = try await Command(
      executable: "/bin/sh", arguments: ["-c", script], environment: [], deadline: .seconds(60)
    ).run()
    let pid = try #require(Int32(String(decoding: result.standardOutput.dropLast(), as: UTF8.self)))
    let process = try Process(pid: pid)
    #expect(!process.hasEnded)
    #expect(write(gate.raw, "go\n", 3) == 3)
    await process.wait()
    if kernelTellsExits { #expect(process.status == .exited(7)) }
    process.close()
  }
}

@Suite("Stream")
struct StreamTests {
  init() { LoopThread.start() }

  @Loop private func pair() throws -> (Stream, Stream) {
    var ends: [Int32] = [-1, -1]
    #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | O_NONBLOCK, 0, &ends) == 0)
    return (try Stream(Descriptor(owning: ends[0])), try Stream(Descriptor(owning: ends[1])))
  }

  @Test("ten megabytes pass through a socket whose buffer is smaller") @Loop
  func large() async throws {
    let (left, right) = try pair()
    // Made and compared in pieces: byte by byte it would hold up every other test for seconds.
    var pattern = (0..<251).map { UInt8($0) }
    while pattern.count < 10_000_000 { pattern += pattern }
    let sent = pattern
    let writing = Loop.spawn {
      try? await left.write(sent)
      left.close()
    }
    var received: [UInt8] = []
    while let bytes = try await right.read(upTo: 1 << 16) { received += bytes }
    await writing.value
    #expect(received.count == sent.count)
    #expect(memcmp(received, sent, min(received.count, sent.count)) == 0)
    right.close()
  }

  @Test("a peer that sends nothing is given up after the patience") @Loop
  func readPatience() async throws {
    let (left, right) = try pair()
    await #expect(throws: StreamError.timedOut) { try await left.read(upTo: 1, within: .milliseconds(5)) }
    left.close()
    right.close()
  }

  @Test("a peer that takes nothing is given up after the patience") @Loop
  func writePatience() async throws {
    let (left, right) = try pair()
    let flood = [UInt8](repeating: 0, count: 10_000_000)
    await #expect(throws: StreamError.timedOut) { try await left.write(flood, within: .milliseconds(5)) }
    left.close()
    right.close()
  }

  @Test("closing a stream wakes its reader") @Loop
  func closing() async throws {
    let (left, right) = try pair()
    _ = Timer(after: .milliseconds(1)) { left.close() }
    await #expect(throws: StreamError.closed) { try await left.read(upTo: 1) }
    right.close()
  }

  @Test("a pipe's reader that leaves ends a write that waits for it") @Loop
  func readerLeaves() async throws {
    let ends = try makePipe()
    #expect(fcntl(ends.write, F_SETFL, O_NONBLOCK) == 0)
    let writer = try Stream(Descriptor(owning: ends.write), .write)
    let flood = [UInt8](repeating: 0, count: 1_000_000)
    let writing = Loop.spawn {
      _ = await #expect(throws: StreamError.peerGone) { try await writer.write(flood, within: .seconds(60)) }
    }
    // The pipe is full now, so that it is never writable again.
    await Loop.spawn {}.value
    close(ends.read)
    await writing.value
    writer.close()
  }

  @Test("writing to a peer that has gone is an error, not a signal") @Loop
  func peerGone() async throws {
    let (left, right) = try pair()
    right.close()
    await #expect(throws: StreamError.peerGone) {
      while true { try await left.write([1]) }
    }
    left.close()
  }
}

/// Whether a pidfd tells how its process ended: Linux 6.15 and later.
var kernelTellsExits: Bool {
  var name = utsname()
  uname(&name)
  let release = withUnsafeBytes(of: &name.release) {
    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
  }
  let numbers = release.split(separator: ".").prefix(2).compactMap { Int($0) }
  return numbers.count == 2 && (numbers[0], numbers[1]) >= (6, 15)
}
