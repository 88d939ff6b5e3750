// One client of the daemon, seen from the daemon.

public import Reactor

/// A client's connection: requests come in one at a time, replies go out in order.
@Loop
public final class Connection {
  /// The longest request.
  static let requestLimit = 1 << 16

  private let stream: Stream
  private let reader: LineReader
  private let patience: Duration
  private let writing = Semaphore(permits: 1)
  private var isWriting = false
  private var attachedSessions = 0
  private var hasHeardAll = false
  private var isDismissed = false

  /// - Parameters:
  ///   - stream: the connected socket.
  ///   - patience: how long the client may take for a request, unless a session of its own runs, and how long it
  ///     may take nothing of a reply.
  init(_ stream: Stream, patience: Duration) {
    self.stream = stream
    self.patience = patience
    reader = LineReader(stream, limit: Self.requestLimit)
  }

  /// Whether this client waits for a session. Such a connection may be silent.
  public var isAttached: Bool { attachedSessions > 0 }

  /// Whether the connection has ended: nobody reads what is sent on it.
  public var isClosed: Bool { stream.isClosed }

  /// Counts a session as one that this client waits for, until `detach`.
  public func attach() { attachedSessions += 1 }

  /// Ends one `attach`.
  public func detach() {
    attachedSessions -= 1
    if hasHeardAll, !isAttached { stream.close() }
  }

  /// Sends a reply. A client that has gone, or that takes nothing, is no error of the daemon's: its connection is
  /// closed, and its sessions go on.
  public func send(_ reply: Reply) async { await send(reply, within: patience) }

  private func send(_ reply: Reply, within patience: Duration) async {
    await writing.withPermit {
      isWriting = true
      do {
        try await stream.write(encodeLine(reply), within: patience)
      } catch {
        stream.close()
      }
      isWriting = false
    }
  }

  /// Ends the connection with a sentence, if the client can take one now; it is not waited for.
  func dismiss(_ sentence: String) {
    isDismissed = true
    guard !isWriting else { return stream.close() }
    Loop.spawn {
      await self.send(.busy(reason: sentence), within: .zero)
      self.stream.close()
    }
  }

  /// Answers requests until the client leaves or breaks a rule, and returns when the connection has ended.
  func serve(_ answer: @Loop (Connection, Request) async -> Void) async {
    do {
      while let line = try await reader.next(within: isAttached ? nil : patience), !isDismissed {
        await answer(self, try decodeLine(line, as: Request.self, from: "client"))
        // A client that sends faster than it is answered has one turn like everybody else.
        await Loop.yield()
      }
    } catch let error as FrameError {
      await send(.refused(reason: error.sentence))
      stream.close()
    } catch is LineReader.TooLong {
      await send(.refused(reason: "The request is longer than \(Self.requestLimit) bytes: it was not read."))
      stream.close()
    } catch StreamError.timedOut {
      await send(.refused(reason: "No request came within \(patience): connect again."))
      stream.close()
    } catch {
      stream.close()
    }
    hasHeardAll = true
    guard isAttached else { return stream.close() }
    // The end of what a client sends is not its end: a session that it waits for still has an answer to give. But a
    // client that has gone must not cost a descriptor for as long as that session lives.
    await stream.hangUp()
    stream.close()
  }

  /// Ends the connection at once.
  public func close() { stream.close() }
}
