// Clients that behave badly: each costs itself its connection and nobody else anything.

import Glibc
import Reactor
import TestSupport
import Testing

@testable import Control

@Suite("Hostile clients")
struct HostileClientTests {
  init() { LoopThread.start() }

  @Test("half a request and then silence ends with a sentence") @Loop
  func silence() async throws {
    let fixture = try Fixture(patience: .milliseconds(50))
    defer { fixture.close() }
    let client = try RawClient(fixture.path)
    defer { client.close() }
    try await client.send("{\"protocol\":1,")
    #expect(try await client.refusal() == "No request came within 0.05 seconds: connect again.")
    #expect(try await client.reply() == nil)
    #expect(try await fixture.isServing())
  }

  @Test("a byte now and then does not make the patience longer") @Loop
  func trickle() async throws {
    let patience: Duration = .milliseconds(200)
    let fixture = try Fixture(patience: patience)
    defer { fixture.close() }
    let client = try RawClient(fixture.path)
    defer { client.close() }
    let trickling = Loop.spawn {
      do {
        while true {
          try await client.send("x")
          await Timer.sleep(patience / 20)
        }
      } catch {}
    }
    #expect(try await client.refusal() == "No request came within 0.2 seconds: connect again.")
    await trickling.value
  }

  @Test(
    "noise is told to be no message, and the connection ends",
    arguments: [
      (0..<4096).map { UInt8(truncatingIfNeeded: $0 &* 151 &+ $0 >> 3) }.filter { $0 != 10 },
      [0xff, 0xfe, 0x80, 0xc0], [0], Array(repeating: UInt8(ascii: "["), count: 60_000), [],
    ] as [[UInt8]])
  @Loop func noise(_ bytes: [UInt8]) async throws {
    let fixture = try Fixture { _, _ in Issue.record("noise was answered") }
    defer { fixture.close() }
    let client = try RawClient(fixture.path)
    defer { client.close() }
    try await client.send(bytes + [UInt8(ascii: "\n")])
    #expect(try await client.refusal() == "The client sent something that is not a message of agentd.")
    #expect(try await client.reply() == nil)
  }

  @Test(
    "another build is told so, and its connection ends",
    arguments: [(Build.protocolVersion, "0.0.9"), (1, Build.version)])
  @Loop func otherBuild(number: Int, build: String) async throws {
    let fixture = try Fixture { _, _ in Issue.record("another build was answered") }
    defer { fixture.close() }
    let client = try RawClient(fixture.path)
    defer { client.close() }
    try await client.send("{\"protocol\":\(number),\"build\":\"\(build)\",\"body\":{\"list\":{}}}\n")
    let sentence = try #require(try await client.refusal())
    #expect(sentence.contains("another build of agentd (\(build), protocol \(number)"))
    #expect(try await client.reply() == nil)
  }

  @Test("a request of the longest length is read and one byte more is refused") @Loop
  func lengthLimit() async throws {
    let fixture = try Fixture()
    defer { fixture.close() }
    let line = encodeLine(Request.list).dropLast()
    for (excess, isServed) in [(0, true), (1, false)] {
      let client = try RawClient(fixture.path)
      defer { client.close() }
      // Blanks between the values of JSON are part of the line and mean nothing.
      let blanks = String(repeating: " ", count: Connection.requestLimit - line.count + excess)
      try await client.send(blanks.utf8 + line + [UInt8(ascii: "\n")])
      let expected: Reply =
        isServed
        ? .sessions(sessions: [])
        : .refused(reason: "The request is longer than 65536 bytes: it was not read.")
      #expect(try await client.reply() == expected)
    }
  }

  @Test("a client that leaves in the middle of a large reply is no error to anybody else") @Loop
  func leavesMidReply() async throws {
    let fixture = try Fixture(answer: largeAnswer)
    defer { fixture.close() }
    for _ in 0..<20 {
      let client = try RawClient(fixture.path)
      try await client.send(encodeLine(Request.stop(session: "")))
      // The first bytes have come, the rest is on its way.
      #expect(try await client.firstByte() == UInt8(ascii: "{"))
      client.close()
    }
    #expect(try await fixture.isServing())
  }

  @Test("while a client does not read, everybody else is served") @Loop
  func othersMeanwhile() async throws {
    let fixture = try Fixture(answer: largeAnswer)
    defer { fixture.close() }
    let mute = try RawClient(fixture.path)
    defer { mute.close() }
    // More requests than it could ever get replies for.
    try await mute.send((0..<50).flatMap { _ in encodeLine(Request.stop(session: "")) })
    for _ in 0..<3 { #expect(try await fixture.isServing()) }
    #expect(fixture.connectionCount >= 1)
  }

  @Test("a client that does not read is let go after the patience") @Loop
  func neverReads() async throws {
    let fixture = try Fixture(patience: .milliseconds(50), answer: largeAnswer)
    defer { fixture.close() }
    let (mute, descriptor) = try connected(to: fixture.path)
    defer { mute.close() }
    // Told by the kernel of the server's end of the connection, whatever is left unread.
    let copy = Descriptor(owning: dup(descriptor))
    let gone = Latch()
    let watch = try Watch(copy.raw, []) { if $0.contains(.hangup) { gone.open() } }
    defer { watch.close() }
    try await mute.send((0..<50).flatMap { _ in encodeLine(Request.stop(session: "")) })
    await gone.wait()
    #expect(try await fixture.isServing())
  }

  // In processes of their own: one measures the memory, the other holds more descriptors than others leave it.
  @Test("a hundred megabytes without a newline are refused and never held", .exitTest)
  func flood() async {
    await #expect(processExitsWith: .success) {
      LoopThread.start()
      try await floodServer()
    }
  }

  @Test("a thousand silent connections keep nobody out: the oldest are told to go", .exitTest)
  func crowd() async {
    await #expect(processExitsWith: .success) {
      DescriptorLimit.raise()
      LoopThread.start()
      try await crowdServer()
    }
  }
}

/// Half a megabyte to who asks for a stop, more than a socket's buffer, and little to everybody else.
private let largeAnswer: @Loop (Connection, Request) async -> Void = { connection, request in
  guard case .stop = request else { return await connection.send(.sessions(sessions: [])) }
  let session = LiveSession(
    id: "0123456789abcdef", profile: "profile", phase: "command", ageMilliseconds: 1,
    repository: "https://example.org/group/name.git", isScheduled: false)
  await connection.send(.sessions(sessions: Array(repeating: session, count: 4000)))
}

@Loop private func floodServer() async throws {
  let fixture = try Fixture()
  #expect(try await fixture.isServing())
  let before = try residentKilobytes()
  let client = try RawClient(fixture.path)
  let chunk = [UInt8](repeating: UInt8(ascii: "x"), count: 1 << 20)
  do {
    for _ in 0..<100 { try await client.send(chunk) }
    Issue.record("the server took a hundred megabytes")
  } catch StreamError.peerGone {}
  #expect(try await client.refusal() == "The request is longer than 65536 bytes: it was not read.")
  // A third of what was sent, because a sanitized process keeps what it has freed for a while.
  #expect(try residentKilobytes() - before < 32_768)
  #expect(try await fixture.isServing())
  client.close()
  await fixture.end()
}

@Loop private func crowdServer() async throws {
  let fixture = try Fixture()
  var crowd: [RawClient] = []
  for _ in 0..<1000 {
    crowd.append(try RawClient(fixture.path))
    // The other side's turn, so that it is connections and not the kernel's queue that this tests.
    if crowd.count % 100 == 0 { #expect(try await fixture.isServing()) }
  }
  #expect(try await fixture.isServing())
  #expect(fixture.connectionCount <= Server.connectionLimit)
  // What the well-behaved used counts as well, so a few more than the surplus have gone; the oldest first.
  for client in crowd[..<488] {
    let sentence = try await client.busy()
    #expect(
      sentence == "There are 512 connections, and this one was the oldest to ask for nothing: connect again.")
    #expect(try await client.reply() == nil)
  }
  for client in crowd[512...] {
    try await client.send(encodeLine(Request.list))
    #expect(try await client.reply() == .sessions(sessions: []))
  }
  for client in crowd { client.close() }
  await fixture.end()
}

/// VmRSS of this process.
private func residentKilobytes() throws -> Int {
  let lines = try contents(of: "/proc/self/status").split(separator: "\n")
  let line = try #require(lines.first { $0.hasPrefix("VmRSS:") })
  return try #require(Int(line.split(whereSeparator: { $0 == " " || $0 == "\t" })[1]))
}
