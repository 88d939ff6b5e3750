// The server with clients that behave: who may connect, order of answers, and how connections end.

import Glibc
import Reactor
import TestSupport
import Testing

@testable import Control

@Suite("Server")
struct ServerTests {
  init() { LoopThread.start() }

  @Test("only its owner may open the socket, from the first moment") @Loop
  func socketMode() throws {
    let fixture = try Fixture()
    defer { fixture.close() }
    var status = stat()
    #expect(lstat(fixture.path, &status) == 0)
    #expect(status.st_mode & S_IFMT == S_IFSOCK)
    #expect(status.st_mode & 0o7777 == 0o600)
    #expect(status.st_uid == geteuid())
  }

  @Test("requests sent in one go are answered one after the other, in their order") @Loop
  func pipelining() async throws {
    var running = 0
    let fixture = try Fixture { connection, request in
      #expect(running == 0)
      running += 1
      guard case .stop(let session) = request else { return }
      // Later requests get the chance to overtake.
      await withCheckedContinuation { continuation in
        Loop.spawn { continuation.resume() }
      }
      await connection.send(.refused(reason: session))
      running -= 1
    }
    defer { fixture.close() }
    let client = try RawClient(fixture.path)
    defer { client.close() }
    try await client.send((0..<500).flatMap { encodeLine(Request.stop(session: "\($0)")) })
    for index in 0..<500 { #expect(try await client.refusal() == "\(index)") }
  }

  @Test("a request that arrives byte by byte is one request") @Loop
  func pieces() async throws {
    let fixture = try Fixture()
    defer { fixture.close() }
    let client = try RawClient(fixture.path)
    defer { client.close() }
    for byte in encodeLine(Request.list) { try await client.send([byte]) }
    #expect(try await client.reply() == .sessions(sessions: []))
  }

  @Test("a client that has sent all it has to say still gets its answer, and then the end") @Loop
  func halfClose() async throws {
    let fixture = try Fixture()
    defer { fixture.close() }
    let (client, descriptor) = try connected(to: fixture.path)
    defer { client.close() }
    try await client.send(encodeLine(Request.list))
    #expect(shutdown(descriptor, Int32(SHUT_WR)) == 0)
    #expect(try await client.reply() == .sessions(sessions: []))
    #expect(try await client.reply() == nil)
  }

  @Test("the end of a stream in the middle of a request is no request") @Loop
  func partAtTheEnd() async throws {
    let fixture = try Fixture { _, _ in Issue.record("half a request was answered") }
    defer { fixture.close() }
    let (client, descriptor) = try connected(to: fixture.path)
    defer { client.close() }
    try await client.send(encodeLine(Request.list).dropLast())
    #expect(shutdown(descriptor, Int32(SHUT_WR)) == 0)
    #expect(try await client.reply() == nil)
  }

  @Test("a client that waits for its session may be silent and half closed") @Loop
  func attached() async throws {
    let go = Latch()
    let fixture = try Fixture(patience: .milliseconds(20)) { connection, _ in
      connection.attach()
      await connection.send(.done)
      Loop.spawn {
        await go.wait()
        await connection.send(.refused(reason: "the end"))
        connection.detach()
      }
    }
    defer { fixture.close() }
    let (client, descriptor) = try connected(to: fixture.path)
    defer { client.close() }
    try await client.send(encodeLine(Request.list))
    #expect(try await client.reply() == .done)
    // A client with no session of its own is given up meanwhile: the patience of this one would be over as well.
    let other = try RawClient(fixture.path)
    #expect(try await other.refusal() != nil)
    other.close()
    #expect(shutdown(descriptor, Int32(SHUT_WR)) == 0)
    go.open()
    #expect(try await client.refusal() == "the end")
  }

  @Test("a client that waits for its session and goes for good does not keep its connection") @Loop
  func attachedAndGone() async throws {
    var attached: [Connection] = []
    let fixture = try Fixture { connection, request in
      guard case .stop = request else { return await connection.send(.sessions(sessions: [])) }
      connection.attach()
      attached.append(connection)
      await connection.send(.done)
    }
    defer { fixture.close() }
    let client = try RawClient(fixture.path)
    try await client.send(encodeLine(Request.stop(session: "")))
    #expect(try await client.reply() == .done)
    client.close()
    // Whatever else is connected comes and goes meanwhile: the turns of this loop are what is waited for.
    while fixture.connectionCount > 0 { await Loop.yield() }
    #expect(attached.map(\.isClosed) == [true])
    // Its session ends later, and tells nobody.
    await attached[0].send(.done)
    attached[0].detach()
    #expect(try await fixture.isServing())
  }

  @Test("a client of another user is told so, and its request is not carried out") @Loop
  func otherUser() async throws {
    let isRoot = geteuid() == 0
    let fixture = try Fixture(owner: isRoot ? 0 : geteuid() + 1) { _, _ in
      Issue.record("another user's request was answered")
    }
    defer { fixture.close() }
    let client: RawClient
    if isRoot {
      // Only for this test: what keeps others out otherwise is the socket's mode.
      #expect(chmod(fixture.scratch.path, 0o755) == 0)
      #expect(chmod(fixture.path, 0o666) == 0)
      client = RawClient(try Stream(Descriptor(owning: try asNobody { try connect(to: fixture.path) })))
    } else {
      client = try RawClient(fixture.path)
    }
    defer { client.close() }
    try await client.send(encodeLine(Request.list))
    #expect(try await client.refusal() == "This daemon serves its own user and root only.")
    #expect(try await client.reply() == nil)
    #expect(fixture.refusals.count == 1)
    #expect(fixture.refusals.first?.contains(isRoot ? "uid 65534" : "uid \(geteuid())") == true)
  }

  @Test("the socket's mode keeps another user from connecting at all") @Loop
  func modeKeepsOut() async throws {
    try #require(geteuid() == 0, "this test needs root, to become another user")
    let fixture = try Fixture()
    defer { fixture.close() }
    #expect(chmod(fixture.scratch.path, 0o755) == 0)
    do {
      close(try asNobody { try connect(to: fixture.path) })
      Issue.record("another user connected")
    } catch let error as CallFailed {
      #expect(error.code == EACCES)
    }
  }

  // In a process of its own, where no child of another test can hold a copy of the socket for a moment.
  @Test(
    "after it stopped accepting, who is connected goes on and who comes is told that nobody listens",
    .exitTest)
  func stopAccepting() async {
    await #expect(processExitsWith: .success) {
      LoopThread.start()
      try await stopServer()
    }
  }

  @Test("closing it ends every connection") @Loop
  func closing() async throws {
    let fixture = try Fixture()
    let clients = try (0..<3).map { _ in try RawClient(fixture.path) }
    // Answered, so they have been accepted.
    for client in clients {
      try await client.send(encodeLine(Request.list))
      #expect(try await client.reply() != nil)
    }
    fixture.close()
    for client in clients {
      #expect(try await client.reply() == nil)
      client.close()
    }
  }
}

@Loop private func stopServer() async throws {
  let fixture = try Fixture()
  let client = try RawClient(fixture.path)
  try await client.send(encodeLine(Request.list))
  #expect(try await client.reply() == .sessions(sessions: []))
  fixture.stopAccepting()
  try await client.send(encodeLine(Request.list))
  #expect(try await client.reply() == .sessions(sessions: []))
  await #expect(throws: ClientError.self) { try await Client.connect(to: fixture.path) }
  client.close()
  await fixture.end()
}
