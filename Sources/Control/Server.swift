// The daemon's side of the control socket: who may connect, how many, and who has to go.

public import Reactor

/// Serves requests on a Unix socket.
@Loop
public final class Server {
  /// Connections at once that wait for no session's end. Beyond it the oldest of them makes room, so that a crowd of
  /// silent clients cannot keep out one that speaks. Those that wait are not counted: the sessions and followers that
  /// there may be bound them.
  public static let connectionLimit = 512
  /// How long a client may keep the daemon waiting.
  public static let clientPatience: Duration = .seconds(10)

  private let owner: UInt32
  private let patience: Duration
  private let answer: @Loop (Connection, Request) async -> Void
  private let onRefusal: @Loop (String) -> Void
  private var listener: Listener?
  private var connections: [UInt64: Connection] = [:]
  private var accepted: UInt64 = 0

  /// Listens at `path`, where no file may be.
  ///
  /// - Parameters:
  ///   - path: at most 107 bytes.
  ///   - owner: the uid whose clients are served, beside root's.
  ///   - patience: how long a client may take for a request, or take nothing of a reply.
  ///   - onRefusal: receives a sentence for the log when a client was turned away.
  ///   - answer: carries a request out and sends its replies. Requests of one client do not overlap.
  public init(
    path: String, owner: UInt32, patience: Duration = clientPatience,
    onRefusal: @escaping @Loop (String) -> Void,
    answer: @escaping @Loop (Connection, Request) async -> Void
  ) throws(SystemError) {
    self.owner = owner
    self.patience = patience
    self.answer = answer
    self.onRefusal = onRefusal
    listener = try Listener(
      path: path, onExhaustion: { onRefusal("Connections have to wait: \($0). Raise the open-files limit.") },
      onConnection: { [weak self] in self?.welcome($0, uid: $1) })
  }

  /// How many clients are connected.
  public var connectionCount: Int { connections.count }

  /// Takes no further connection. Those that are there go on.
  public func stopAccepting() {
    listener?.close()
    listener = nil
  }

  /// Ends every connection.
  public func close() {
    stopAccepting()
    for connection in connections.values { connection.close() }
  }

  private func welcome(_ descriptor: consuming Descriptor, uid: UInt32) {
    let connection: Connection
    do {
      connection = Connection(try Stream(descriptor), patience: patience)
    } catch {
      onRefusal("A connection could not be watched: \(error).")
      return
    }
    guard uid == owner || uid == 0 else {
      onRefusal("A client of uid \(uid) was refused: the daemon serves uid \(owner) and root only.")
      Loop.spawn {
        await connection.send(.refused(reason: "This daemon serves its own user and root only."))
        connection.close()
      }
      return
    }
    if connections.count >= Self.connectionLimit,
      connections.values.count(where: { !$0.isAttached }) >= Self.connectionLimit
    {
      evictOldest()
    }
    accepted += 1
    let number = accepted
    connections[number] = connection
    Loop.spawn { [answer] in
      await connection.serve(answer)
      self.connections[number] = nil
    }
  }

  private func evictOldest() {
    guard let oldest = connections.lazy.filter({ !$0.value.isAttached }).map(\.key).min() else { return }
    let limit = Self.connectionLimit
    connections.removeValue(forKey: oldest)?.dismiss(
      "There are \(limit) connections, and this one was the oldest to ask for nothing: connect again.")
    onRefusal("There are \(limit) connections: the oldest that asked for nothing was closed.")
  }
}
