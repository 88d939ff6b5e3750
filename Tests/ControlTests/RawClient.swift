// A client that sends whatever bytes a test wants, and tells when the server has let it go.

import Glibc
import Reactor
import TestSupport
import Testing

@testable import Control

/// A connection to a server's socket on which nothing has to be a message.
@Loop
final class RawClient {
  /// Far longer than any answer takes; what waits for it has failed.
  static let patience: Duration = .seconds(60)

  private let stream: Stream
  private let reader: LineReader

  convenience init(_ path: String) throws { try self.init(Stream.connect(to: path)) }

  init(_ stream: Stream) {
    self.stream = stream
    reader = LineReader(stream, limit: 1 << 26)
  }

  func send(_ bytes: some Sequence<UInt8>) async throws {
    try await stream.write(Array(bytes), within: Self.patience)
  }

  func send(_ text: String) async throws { try await send(text.utf8) }

  /// The next reply; nil when the server has ended the connection.
  func reply() async throws -> Reply? {
    do {
      return try await reader.next(within: Self.patience).map {
        try decodeLine($0, as: Reply.self, from: "daemon")
      }
    } catch StreamError.peerGone {
      // Unix sockets say so instead of ending the stream when the peer had not read everything.
      return nil
    }
  }

  /// The reason of the refusal that comes next.
  func refusal() async throws -> String? {
    guard case .refused(let reason) = try await reply() else { return nil }
    return reason
  }

  /// The reason that comes next for which nothing is done now.
  func busy() async throws -> String? {
    guard case .busy(let reason) = try await reply() else { return nil }
    return reason
  }

  /// The next byte of what the server sends, whatever it belongs to.
  func firstByte() async throws -> UInt8? {
    try await stream.read(upTo: 1, within: Self.patience)?.first
  }

  func close() { stream.close() }
}

/// A client, and its descriptor for what a stream does not do.
@Loop
func connected(to path: String) throws -> (client: RawClient, descriptor: Int32) {
  let descriptor = try connect(to: path)
  return (RawClient(try Stream(Descriptor(owning: descriptor))), descriptor)
}

/// Connects with plain calls, on whatever thread this is.
func connect(to path: String) throws -> Int32 {
  let descriptor = socket(
    AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
  guard descriptor >= 0 else { throw CallFailed("socket", errno) }
  var address = sockaddr_un()
  address.sun_family = sa_family_t(AF_UNIX)
  withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
  let result = withUnsafePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
    }
  }
  guard result == 0 else {
    let code = errno
    close(descriptor)
    throw CallFailed("connect", code)
  }
  return descriptor
}

/// A socket in a directory of its own, with a server whose answers the test gives.
@Loop
final class Fixture {
  let scratch = Scratch()
  private var server: Server?
  private(set) var refusals: [String] = []
  var path: String { "\(scratch.path)/agentd.sock" }
  var connectionCount: Int { server?.connectionCount ?? 0 }

  /// - Parameter answer: nil for one that knows the list of no sessions only.
  init(
    owner: UInt32 = geteuid(), patience: Duration = .seconds(3600),
    answer: (@Loop (Connection, Request) async -> Void)? = nil
  ) throws {
    server = try Server(
      path: path, owner: owner, patience: patience,
      onRefusal: { [weak self] in self?.refusals.append($0) },
      answer: answer ?? { connection, _ in await connection.send(.sessions(sessions: [])) })
  }

  /// Whether a client that behaves is answered now.
  func isServing() async throws -> Bool {
    let client = try await Client.connect(to: path)
    defer { client.close() }
    try await client.send(.list)
    if case .sessions = try await client.next() { return true }
    return false
  }

  func stopAccepting() { server?.stopAccepting() }

  func close() {
    server?.close()
    server = nil
    scratch.remove()
  }

  /// Closes and returns when nothing of any connection is left: what a process that ends then still holds would look
  /// like a leak, because the sanitizer does not see the references of Swift's weak ones.
  func end() async {
    server?.close()
    while connectionCount > 0 { await Loop.spawn {}.value }
    close()
    await Loop.spawn {}.value
  }
}
