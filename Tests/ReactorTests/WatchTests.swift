// Registrations that end: what is reported after that, whose descriptor it is then, and when the file behind it closes.

import Glibc
import TestSupport
import Testing

@testable import Reactor

@Suite("Watch")
struct WatchTests {
  init() { LoopThread.start() }

  @Test("a removed watch's number, used again at once, tells only of the new file") @Loop
  func reused() async throws {
    for _ in 0..<50 {
      let (first, second) = (try makePipe(), try makePipe())
      defer { for end in [first.read, first.write, second.read, second.write] { close(end) } }
      let old = try Watch(first.read, .read) { _ in Issue.record("a removed watch was told") }
      // The kernel knows of it, and there is an edge that nobody has collected.
      await Loop.yield()
      #expect(write(first.write, "x", 1) == 1)
      old.close()
      #expect(dup2(second.read, first.read) == first.read)
      let told = Latch()
      var reports = 0
      let new = try Watch(first.read, .read) { _ in
        reports += 1
        told.open()
      }
      for _ in 0..<3 { await Loop.yield() }
      #expect(reports == 0)
      #expect(write(second.write, "y", 1) == 1)
      await told.wait()
      #expect(reports == 1)
      new.close()
    }
  }

  // In a process of its own, where nobody else opens anything.
  @Test(
    "a watch that ends in the turn it was made in is never told, whatever becomes of its number", .exitTest)
  func takenBack() async {
    await #expect(processExitsWith: .success) {
      LoopThread.start()
      try await takeBackWatches()
    }
  }

  @Loop private final class Watches {
    var watches: [Watch] = []
  }

  @Test("an edge that was collected is not told to who closes in the same turn") @Loop
  func collected() async throws {
    let pipes = try (0..<2).map { _ in try makePipe() }
    defer { for pipe in pipes { for end in [pipe.read, pipe.write] { close(end) } } }
    let told = Latch()
    let all = Watches()
    var reports = 0
    for pipe in pipes {
      all.watches.append(
        try Watch(pipe.read, .read) { _ in
          reports += 1
          for watch in all.watches { watch.close() }
          told.open()
        })
    }
    await Loop.yield()
    for pipe in pipes { #expect(write(pipe.write, "x", 1) == 1) }
    await told.wait()
    for _ in 0..<3 { await Loop.yield() }
    #expect(reports == 1)
  }

  // In a process of its own, where no child of another test can hold a copy of the pipe for a moment.
  @Test(
    "the file behind a closed watch is closed when the loop has had a turn, or at once where that was asked for",
    .exitTest
  )
  func released() async {
    await #expect(processExitsWith: .success) {
      LoopThread.start()
      try await letGoOfFiles()
    }
  }

  @Test("more watches than the kernel is told of in one go end and begin together") @Loop
  func many() async throws {
    let pipe = try makePipe()
    defer { for end in [pipe.read, pipe.write] { close(end) } }
    let numbers = (0..<1000).map { _ in dup(pipe.read) }
    defer { for number in numbers { close(number) } }
    #expect(numbers.allSatisfy { $0 >= 0 })
    let old = try numbers.map { try Watch($0, .read) { _ in Issue.record("a removed watch was told") } }
    await Loop.yield()
    for watch in old { watch.close() }
    let told = Inbox<Int32>(capacity: 2 * numbers.count)
    let new = try numbers.map { number in try Watch(number, [.read, .once]) { _ in told.post(number) } }
    await Loop.yield()
    #expect(write(pipe.write, "x", 1) == 1)
    var heard = Set<Int32>()
    while heard.count < numbers.count { heard.insert(await told.next()) }
    for watch in new { watch.close() }
  }

  @Test("one that is made for one report tells of each edge once it is renewed") @Loop
  func once() async throws {
    let pipe = try makePipe()
    defer { close(pipe.read) }
    let reports = Inbox<Interest>(capacity: 10)
    let watch = try Watch(pipe.read, [.read, .once]) { reports.post($0) }
    var byte: UInt8 = 0
    for _ in 0..<3 {
      #expect(write(pipe.write, "x", 1) == 1)
      #expect(await reports.next() == .read)
      #expect(read(pipe.read, &byte, 1) == 1)
      watch.rearm()
      watch.rearm()
      await Loop.yield()
    }
    // What comes before it is renewed is told all the same.
    #expect(write(pipe.write, "x", 1) == 1)
    #expect(await reports.next() == .read)
    #expect(read(pipe.read, &byte, 1) == 1)
    close(pipe.write)
    watch.rearm()
    #expect(await reports.next().contains(.hangup))
    watch.close()
    watch.rearm()
  }
}

@Loop private func letGoOfFiles() async throws {
  for atOnce in [false, true] {
    let pipe = try makePipe()
    defer { close(pipe.write) }
    let watch = try Watch(pipe.read, .read) { _ in Issue.record("nothing was written") }
    await Loop.yield()
    if atOnce { watch.closeAtOnce() } else { watch.close() }
    close(pipe.read)
    if !atOnce { await Loop.yield() }
    #expect(write(pipe.write, "x", 1) == -1)
    #expect(errno == EPIPE)
  }
}

@Loop private func takeBackWatches() async throws {
  let (first, second) = (try makePipe(), try makePipe())
  defer { for end in [first.read, first.write, second.read, second.write] { close(end) } }
  #expect(write(first.write, "x", 1) == 1)
  for _ in 0..<1000 {
    let number = dup(first.read)
    let watch = try Watch(number, .read) { _ in Issue.record("a removed watch was told") }
    watch.close()
    close(number)
  }
  // The number is nobody's when the kernel is given what is queued: that must not be the end of the loop.
  await Loop.yield()
  let number = dup(first.read)
  try Watch(number, .read) { _ in Issue.record("a removed watch was told") }.close()
  let told = Latch()
  #expect(dup2(second.read, number) == number)
  let new = try Watch(number, .read) { _ in told.open() }
  for _ in 0..<3 { await Loop.yield() }
  #expect(!told.isOpen)
  #expect(write(second.write, "y", 1) == 1)
  await told.wait()
  new.close()
  close(number)
}
