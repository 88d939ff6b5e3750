// The client's side of the control socket.

public import Reactor

/// Why a client got no answer. One sentence for the operator.
public enum ClientError: Error, CustomStringConvertible {
  /// Nobody listens at the path.
  case noDaemon(path: String)
  /// The connection broke or came to nothing. What was asked on it may have been heard; a later one may do better.
  case broken(String)
  /// The daemon is another build, and does not understand what is asked.
  case otherBuild(String)
  /// The socket may not be used, or the two sides do not understand each other: trying again is of no use.
  case failed(String)

  /// One sentence.
  public var description: String {
    switch self {
    case .noDaemon(let path):
      "No daemon listens at \(path): start it with `agentd daemon`, with the same configuration."
    case .broken(let sentence), .otherBuild(let sentence), .failed(let sentence): sentence
    }
  }
}

/// A connection to the daemon.
@Loop
public final class Client {
  /// The longest reply.
  private static let replyLimit = 1 << 24
  /// How often and how long apart a full backlog is tried again.
  private static let connectAttempts = 100
  private static let connectPause: Duration = .milliseconds(50)

  private let stream: Stream
  private let reader: LineReader

  private init(_ stream: Stream) {
    self.stream = stream
    reader = LineReader(stream, limit: Self.replyLimit)
  }

  /// Connects to the daemon at `path`.
  public static func connect(to path: String) async throws(ClientError) -> Client {
    for _ in 0..<connectAttempts {
      do throws(SystemError) {
        return Client(try Stream.connect(to: path))
      } catch {
        switch error.errno {
        case .noSuchFileOrDirectory, .connectionRefused: throw .noDaemon(path: path)
        case .resourceTemporarilyUnavailable: break  // more clients wait than the daemon's backlog holds
        default: throw .failed("The daemon's socket \(path) cannot be used: \(error).")
        }
      }
      await Timer.sleep(connectPause)
    }
    throw .broken("The daemon at \(path) takes no connections: it is overloaded or stopped.")
  }

  /// Sends a request.
  public func send(_ request: Request) async throws(ClientError) {
    do throws(StreamError) {
      try await stream.write(encodeLine(request))
    } catch {
      throw .broken("The daemon did not take the request: \(error). Ask again.")
    }
  }

  /// The next reply, as soon as it comes.
  public func next() async throws(ClientError) -> Reply {
    do {
      guard let line = try await reader.next(within: nil) else {
        throw ClientError.broken("The daemon ended the connection before it had answered: see its log.")
      }
      return try decodeLine(line, as: Reply.self, from: "daemon")
    } catch let error as ClientError {
      throw error
    } catch let error as FrameError {
      throw error.isOtherBuild ? .otherBuild(error.sentence) : .failed(error.sentence)
    } catch {
      throw .broken("The connection to the daemon broke before it had answered (\(error)): see its log.")
    }
  }

  /// Ends the connection.
  public func close() { stream.close() }
}
