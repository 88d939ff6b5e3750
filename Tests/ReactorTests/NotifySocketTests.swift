// Telling a supervisor: addresses, messages, a queue that is full, and nobody who listens.

import Glibc
import Reactor
import TestSupport
import Testing

@Suite("NotifySocket")
struct NotifySocketTests {
  init() { LoopThread.start() }

  private let scratch = Scratch()
  private var path: String { "\(scratch.path)/notify" }

  @Test("a message reaches a path and an abstract name, with its assignments in a fixed order") @Loop
  func addresses() async throws {
    defer { scratch.remove() }
    for address in [path, "@\(path)"] {
      let receiver = try NotifyReceiver(address)
      defer { receiver.close() }
      let socket = NotifySocket(address) { Issue.record("\($0)") }
      defer { socket.close() }
      socket.send([.watchdog: "1", .status: "a = b", .stopping: "1", .ready: "1"])
      #expect(await receiver.next() == "READY=1\nSTOPPING=1\nSTATUS=a = b\nWATCHDOG=1")
      socket.send([.status: "Größe"])
      #expect(await receiver.next() == "STATUS=Größe")
      #expect(exists(path) == (address == path))
      unlink(path)
    }
  }

  @Test("what a full queue does not take is kept, the latest value of each, and sent when there is room")
  @Loop
  func fullQueue() async throws {
    defer { scratch.remove() }
    let receiver = try NotifyReceiver(path)
    defer { receiver.close() }
    let socket = NotifySocket(path) { Issue.record("\($0)") }
    defer { socket.close() }
    // The kernel queues net.unix.max_dgram_qlen messages, 10 unless the host says otherwise, and one more.
    let count = 100_000
    for number in 0..<count { socket.send([.status: "\(number)"]) }
    socket.send([.ready: "1"])
    var messages: [String] = []
    repeat { messages.append(await receiver.next()) } while messages.last?.hasPrefix("READY=1") != true
    #expect(messages.last == "READY=1\nSTATUS=\(count - 1)")
    #expect(messages.count < count)
    #expect(messages.dropLast() == (0..<messages.count - 1).map { "STATUS=\($0)" }[...])
    // The next one goes its own way again.
    socket.send([.status: "after"])
    #expect(await receiver.next() == "STATUS=after")
  }

  @Test("when nobody listens that is told once, and said again to who listens later") @Loop
  func nobody() async throws {
    defer { scratch.remove() }
    var failures: [String] = []
    let socket = NotifySocket(path) { failures.append($0.description) }
    defer { socket.close() }
    socket.send([.ready: "1"])
    socket.send([.status: "first"])
    #expect(failures == ["connect \(path): No such file or directory"])
    let receiver = try NotifyReceiver(path)
    socket.send([.status: "second"])
    #expect(await receiver.next() == "READY=1\nSTATUS=second")
    receiver.close()
  }

  @Test("a socket that was replaced is found again") @Loop
  func replaced() async throws {
    defer { scratch.remove() }
    var failures: [String] = []
    let socket = NotifySocket(path) { failures.append($0.description) }
    defer { socket.close() }
    do {
      let first = try NotifyReceiver(path)
      socket.send([.ready: "1"])
      #expect(await first.next() == "READY=1")
      first.close()
    }
    // The kernel lets go of a socket that the ring has watched at the ring's next turn.
    while isReachable(path) { await Loop.yield() }
    socket.send([.status: "nobody"])
    #expect(failures == ["send to \(path): Connection refused"])
    unlink(path)
    let second = try NotifyReceiver(path)
    defer { second.close() }
    socket.send([.watchdog: "1"])
    #expect(await second.next() == "STATUS=nobody\nWATCHDOG=1")
  }

  @Test("an address that is neither a path nor an abstract name, or too long, is refused") @Loop
  func refusals() {
    defer { scratch.remove() }
    func failure(_ address: String) -> String? {
      var failure: String?
      let socket = NotifySocket(address) { failure = $0.description }
      socket.send([.ready: "1"])
      socket.close()
      return failure
    }
    #expect(failure("notify") == "connect notify: Address family not supported by protocol")
    #expect(failure("vsock:2:1") == "connect vsock:2:1: Address family not supported by protocol")
    let long = "/" + String(repeating: "x", count: 107)
    #expect(failure(long) == "connect \(long): File name too long")
    #expect(failure(scratch.path) == "connect \(scratch.path): Connection refused")
  }

  // It counts descriptors, so it needs a process of its own.
  @Test("closing it leaves no descriptor behind, in whatever state it is", .exitTest)
  func closes() async {
    scratch.remove()
    await #expect(processExitsWith: .success) {
      LoopThread.startAlone()
      try await closeInEveryState()
    }
  }
}

@Loop private func closeInEveryState() async throws {
  let scratch = Scratch()
  defer { scratch.remove() }
  let path = "\(scratch.path)/notify"
  let receiver = try NotifyReceiver(path)
  defer { receiver.close() }
  let before = openDescriptors()
  let unused = NotifySocket(path) { Issue.record("\($0)") }
  unused.close()
  let used = NotifySocket(path) { Issue.record("\($0)") }
  used.send([.ready: "1"])
  #expect(openDescriptors().count == before.count + 1)
  // The queue is full long before that.
  for _ in 0..<100_000 { used.send([.watchdog: "1"]) }
  used.close()
  used.close()
  let failed = NotifySocket("/nonexistent/notify") { _ in }
  failed.send([.ready: "1"])
  failed.close()
  // Nobody has closed this one.
  do {
    let forgotten = NotifySocket(path) { Issue.record("\($0)") }
    forgotten.send([.ready: "1"])
  }
  #expect(openDescriptors() == before)
}

/// Whether anybody receives at a path.
private func isReachable(_ path: String) -> Bool {
  let probe = Descriptor(owning: socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | 0x80000, 0))
  var address = sockaddr_un()
  address.sun_family = sa_family_t(AF_UNIX)
  withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
  return withUnsafePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      connect(probe.raw, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
    }
  }
}
