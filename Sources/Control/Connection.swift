// One client of the daemon, seen from the daemon.

public import Reactor

/// A client's connection: requests come in one at a time, replies go out in order.
@Loop
public final class Connection {
  /// The longest request.
  static let requestLimit = 1 << 16
  /// How long a client may take for a request, unless a session of its own runs.
  static let requestPatience: Duration = .seconds(10)
  /// How long a client may take nothing of a reply.
  static let replyPatience: Duration = .seconds(10)

  private let stream: Stream
  private let reader: LineReader
  private let writing = Semaphore(permits: 1)
  private var attachedSessions = 0

  init(_ stream: Stream) {
    self.stream = stream
    reader = LineReader(stream, limit: Self.requestLimit)
  }

  /// Whether a session that this client asked for is still running. Such a connection may be silent.
  public var isAttached: Bool { attachedSessions > 0 }

  /// Counts a session as this client's until `detach`.
  public func attach() { attachedSessions += 1 }

  /// Ends one `attach`.
  public func detach() { attachedSessions -= 1 }

  /// Sends a reply. A client that has gone, or that takes nothing, is no error of the daemon's: its connection is
  /// closed, and its sessions go on.
  public func send(_ reply: Reply) async {
    await writing.withPermit {
      do {
        try await stream.write(encodeLine(reply), within: Self.replyPatience)
      } catch {
        stream.close()
      }
    }
  }

  /// Answers requests until the client leaves or breaks a rule.
  func serve(_ answer: @Loop (Connection, Request) async -> Void) async {
    do {
      while let line = try await reader.next(within: isAttached ? nil : Self.requestPatience) {
        await answer(self, try decodeLine(line, as: Request.self, from: "client"))
      }
    } catch let error as FrameError {
      await send(.refused(reason: error.sentence))
      stream.close()
    } catch is LineReader.TooLong {
      await send(.refused(reason: "The request is longer than \(Self.requestLimit) bytes: it was not read."))
      stream.close()
    } catch StreamError.timedOut {
      await send(
        .refused(
          reason: "No request came within \(Self.requestPatience.components.seconds) s: connect again."))
      stream.close()
    } catch {
      stream.close()
    }
    // The end of what a client sends is not its end: a session that it asked for still has an answer to give.
    if !isAttached { stream.close() }
  }

  /// Ends the connection at once.
  public func close() { stream.close() }
}
