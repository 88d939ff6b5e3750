// Files and inherited descriptors: being told of writes, and writing without ever waiting in a write.

import Glibc
import TestSupport
import Testing

@testable import Reactor

@Suite("FileWatcher")
struct FileWatcherTests {
  init() { LoopThread.start() }

  private let scratch = Scratch()

  private func append(_ text: String, to path: String) throws {
    let file = Descriptor(owning: open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o600))
    guard Glibc.write(file.raw, text, text.utf8.count) == text.utf8.count else {
      throw CallFailed("write", errno)
    }
  }

  @Test("each of many files tells of its own writes") @Loop
  func manyFiles() async throws {
    defer { scratch.remove() }
    let watcher = try FileWatcher()
    defer { watcher.close() }
    // More than the kernel's events fit into one read.
    let count = 300
    var told = Set<Int>()
    let all = Latch()
    for number in 0..<count {
      try append("", to: "\(scratch.path)/\(number)")
      _ = try watcher.watch("\(scratch.path)/\(number)") {
        told.insert(number)
        if told.count == count { all.open() }
      }
    }
    for number in 0..<count { try append("x", to: "\(scratch.path)/\(number)") }
    await all.wait()
  }

  @Test("a write is told once, and that its writer closes the file is not told") @Loop
  func onlyWrites() async throws {
    defer { scratch.remove() }
    let path = "\(scratch.path)/file"
    try append("", to: path)
    let watcher = try FileWatcher()
    defer { watcher.close() }
    var told = 0
    let written = Latch()
    _ = try watcher.watch(path) {
      told += 1
      written.open()
    }
    try append("", to: path)
    for _ in 0..<3 { await Loop.yield() }
    #expect(told == 0)
    try append("x", to: path)
    await written.wait()
    for _ in 0..<3 { await Loop.yield() }
    #expect(told == 1)
  }

  @Test("what is forgotten or closed is not told any more") @Loop
  func forgets() async throws {
    defer { scratch.remove() }
    let (first, second) = ("\(scratch.path)/1", "\(scratch.path)/2")
    for path in [first, second] { try append("", to: path) }
    let watcher = try FileWatcher()
    let told = Latch()
    let number = try watcher.watch(first) { Issue.record("a forgotten file was told") }
    _ = try watcher.watch(second) { told.open() }
    watcher.forget(number)
    watcher.forget(number)
    try append("x", to: first)
    try append("x", to: second)
    await told.wait()
    watcher.close()
    try append("x", to: second)
    watcher.close()
  }

  @Test("a directory tells of the writes to its files by their names, of those that come later too") @Loop
  func directory() async throws {
    defer { scratch.remove() }
    #expect(mkdir("\(scratch.path)/below", 0o700) == 0)
    let watcher = try FileWatcher()
    defer { watcher.close() }
    // More than the kernel's events fit into one read.
    let names = Set((0..<200).map { "a file with a name of some length, of which there are many: \($0)" })
    var told = Set<String>()
    let all = Latch()
    let number = try watcher.watchFiles(in: scratch.path) { name in
      if let name { told.insert(name) }
      if told == names { all.open() }
    }
    for name in names { try append("", to: "\(scratch.path)/\(name)") }
    try append("x", to: "\(scratch.path)/below/file")
    for _ in 0..<3 { await Loop.yield() }
    #expect(told.isEmpty)
    for name in names { try append("x", to: "\(scratch.path)/\(name)") }
    await all.wait()
    // One that goes is not told, and the watch of the others stays.
    let (first, second) = ("\(scratch.path)/\(names.first ?? "")", "\(scratch.path)/new")
    #expect(unlink(first) == 0)
    let again = Latch()
    told = []
    try append("", to: second)
    watcher.forget(number)
    try append("x", to: second)
    _ = try watcher.watchFiles(in: scratch.path) { name in
      told.insert(name ?? "")
      again.open()
    }
    try append("x", to: second)
    await again.wait()
    #expect(told == ["new"])
  }

  @Test("where the kernel has lost count, every handler is told, that of a directory without a name") @Loop
  func overflow() async throws {
    defer { scratch.remove() }
    let watcher = try FileWatcher()
    defer { watcher.close() }
    let (one, other) = ("\(scratch.path)/one", "\(scratch.path)/other")
    for path in [one, other] { try append("", to: path) }
    let limit = try #require(
      Int(try contents(of: "/proc/sys/fs/inotify/max_queued_events").filter(\.isNumber)))
    var (files, directories) = (0, 0)
    let (file, directory) = (Latch(), Latch())
    _ = try watcher.watch(one) {
      files += 1
      file.open()
    }
    _ = try watcher.watchFiles(in: scratch.path) { name in
      guard name == nil else { return }
      directories += 1
      directory.open()
    }
    // By turns, because the same event twice is one.
    let writers = (open(one, O_WRONLY | O_CLOEXEC), open(other, O_WRONLY | O_CLOEXEC))
    defer {
      close(writers.0)
      close(writers.1)
    }
    for _ in 0..<limit {
      #expect(Glibc.write(writers.0, "x", 1) == 1)
      #expect(Glibc.write(writers.1, "x", 1) == 1)
    }
    await file.wait()
    await directory.wait()
    #expect(files >= 1)
    #expect(directories == 1)
  }

  @Test("a handler may close the watcher, and a file may go while it is watched") @Loop
  func closesInHandler() async throws {
    defer { scratch.remove() }
    let path = "\(scratch.path)/file"
    try append("", to: path)
    let watcher = try FileWatcher()
    let told = Latch()
    let number = try watcher.watch(path) {
      watcher.close()
      told.open()
    }
    try append("x", to: path)
    #expect(unlink(path) == 0)
    await told.wait()
    watcher.forget(number)
  }

  @Test("a file that is not there cannot be watched") @Loop
  func missing() throws {
    defer { scratch.remove() }
    let watcher = try FileWatcher()
    defer { watcher.close() }
    let error = #expect(throws: SystemError.self) { try watcher.watch("/nonexistent") {} }
    #expect(error?.description == "inotify_add_watch /nonexistent: No such file or directory")
  }
}

@Suite("InheritedOutput")
struct InheritedOutputTests {
  init() { LoopThread.start() }

  /// Reads until there are `count` bytes or the end.
  @Loop private func read(_ count: Int, from descriptor: Int32) async throws -> [UInt8] {
    guard fcntl(descriptor, F_SETFL, O_NONBLOCK) == 0 else { throw CallFailed("fcntl", errno) }
    let stream = try Stream(Descriptor(owning: dup(descriptor)), .read)
    defer { stream.close() }
    var bytes: [UInt8] = []
    while bytes.count < count,
      let more = try await stream.read(upTo: min(count - bytes.count, 1 << 16), within: .seconds(60))
    {
      bytes += more
    }
    return bytes
  }

  @Test("more than the pipe holds arrives whole, and in order, once somebody reads") @Loop
  func large() async throws {
    let ends = try makePipe()
    defer {
      close(ends.read)
      close(ends.write)
    }
    let output = InheritedOutput(ends.write, limit: 0)
    let sent = (0..<500_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    let writing = Task { @Loop in await output.write(sent) }
    #expect(try await read(sent.count, from: ends.read) == sent)
    #expect(await writing.value)
    // Its mode belongs to everybody who has the open file.
    #expect(fcntl(ends.write, F_GETFL, 0) & O_NONBLOCK == 0)
  }

  @Test("what nobody reads is kept up to the limit, and what is dropped is counted until it can be told")
  @Loop
  func drops() async throws {
    let ends = try makePipe()
    defer { close(ends.read) }
    let output = InheritedOutput(ends.write, limit: 100_000)
    let line = [UInt8](repeating: UInt8(ascii: "x"), count: 1000)
    for _ in 0..<1000 { output.post(line) }
    #expect(output.takeDroppedBytes() == 0)
    let reading = Task { @Loop in try await read(.max, from: ends.read) }
    await output.finish(within: .seconds(60))
    let dropped = output.takeDroppedBytes()
    #expect(output.takeDroppedBytes() == 0)
    close(ends.write)
    let received = try await reading.value.count
    // The pipe's own 64 KiB, and what was kept, by whole posts.
    #expect((150_000...170_000).contains(received))
    #expect(dropped % 1000 == 0)
    #expect(received + dropped == 1_000_000)
  }

  @Test("waiting for a reader that does not read ends with the patience") @Loop
  func patience() async throws {
    let ends = try makePipe()
    defer {
      close(ends.read)
      close(ends.write)
    }
    let output = InheritedOutput(ends.write, limit: 1 << 20)
    output.post([UInt8](repeating: 0, count: 200_000))
    await output.finish(within: .milliseconds(5))
    // The rest is let go with its watch before the descriptor is closed.
    #expect(try await read(200_000, from: ends.read).count == 200_000)
    await output.finish(within: .seconds(60))
  }

  @Test("when nobody is left to read, it says so and goes on as if it had written") @Loop
  func readerGone() async throws {
    var ends: [Int32] = [-1, -1]
    #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
    defer { for end in ends { close(end) } }
    let output = InheritedOutput(ends[1], limit: 1000)
    #expect(await output.write([1]))
    // Unlike a close this holds whoever else has the descriptor, a child that is just being started among them.
    #expect(shutdown(ends[0], Int32(SHUT_RDWR)) == 0)
    #expect(await output.write([1, 2, 3]) == false)
    output.post([4])
    await output.finish(within: .seconds(60))
    #expect(output.takeDroppedBytes() == 0)
  }

  @Test("a reader that leaves while something waits for it lets the writer go") @Loop
  func readerLeaves() async throws {
    let ends = try makePipe()
    defer { close(ends.write) }
    let output = InheritedOutput(ends.write, limit: 0)
    let writing = Task { @Loop in await output.write([UInt8](repeating: 0, count: 200_000)) }
    await Loop.spawn {}.value
    close(ends.read)
    #expect(await writing.value == false)
  }
}
