// The client's side: every way in which a daemon does not answer is one sentence.

import Glibc
import Reactor
import TestSupport
import Testing

@testable import Control

@Suite("Client")
struct ClientTests {
  init() { LoopThread.start() }

  @Loop private func failure(_ body: @Loop () async throws -> Void) async -> String? {
    do {
      try await body()
      return nil
    } catch let error as ClientError {
      return error.description
    } catch {
      return "another error: \(error)"
    }
  }

  @Test("where nobody listens, the sentence says how to start the daemon") @Loop
  func noDaemon() async throws {
    let scratch = Scratch()
    defer { scratch.remove() }
    let path = "\(scratch.path)/agentd.sock"
    let sentence =
      "No daemon listens at \(path): start it with `agentd daemon`, with the same configuration."
    #expect(await failure { _ = try await Client.connect(to: path) } == sentence)
    // The socket of a daemon that died: the file is there.
    try withBoundSocket(path)
    #expect(await failure { _ = try await Client.connect(to: path) } == sentence)
  }

  @Test("a file that is no socket cannot be used") @Loop
  func noSocket() async throws {
    let long = "/" + String(repeating: "x", count: 200)
    #expect(
      await failure { _ = try await Client.connect(to: long) }?.hasPrefix("The daemon's socket \(long)")
        == true)
  }

  @Test("a daemon that ends the connection without an answer is told") @Loop
  func noAnswer() async throws {
    let fixture = try Fixture { connection, _ in connection.close() }
    defer { fixture.close() }
    let client = try await Client.connect(to: fixture.path)
    defer { client.close() }
    try await client.send(.list)
    #expect(
      await failure { _ = try await client.next() }
        == "The daemon ended the connection before it had answered: see its log.")
  }

  @Test(
    "an answer that is none of this build's is told",
    arguments: [
      ("nonsense\n", "The daemon sent something that is not a message of agentd."),
      ("{\"protocol\":1,\"build\":\"9.9\"}\n", "The daemon is another build of agentd (9.9, protocol 1;"),
      (
        "{\"protocol\":\(Build.protocolVersion),\"build\":\"\(Build.version)\",\"body\":{}}\n",
        "The daemon sent a message that this build of agentd does not know."
      ),
    ])
  @Loop func strangeAnswer(_ line: String, _ sentence: String) async throws {
    let scratch = Scratch()
    defer { scratch.remove() }
    var peers: [Stream] = []
    let listener = try Listener(path: "\(scratch.path)/s", onExhaustion: { _ in }) { descriptor, _ in
      guard let stream = try? Stream(descriptor) else { return }
      peers.append(stream)
      Loop.spawn { try? await stream.write(Array(line.utf8)) }
    }
    defer { listener.close() }
    let client = try await Client.connect(to: "\(scratch.path)/s")
    defer { client.close() }
    #expect(await failure { _ = try await client.next() }?.hasPrefix(sentence) == true)
    for peer in peers { peer.close() }
  }

  @Test("a reply larger than a socket's buffer arrives whole") @Loop
  func largeReply() async throws {
    let session = LiveSession(
      id: "0123456789abcdef", profile: "p", phase: "command", ageMilliseconds: 1, repository: "r",
      isScheduled: false)
    let sessions = Array(repeating: session, count: 4000)
    let fixture = try Fixture { connection, _ in await connection.send(.sessions(sessions: sessions)) }
    defer { fixture.close() }
    let client = try await Client.connect(to: fixture.path)
    defer { client.close() }
    try await client.send(.list)
    #expect(try await client.next() == .sessions(sessions: sessions))
  }
}
