// What the verbs that talk to the daemon have in common: a loop, a connection, and exit codes.

internal import ArgumentParser
internal import Control
internal import Profiles
internal import Reactor

/// How a verb failed, with the code that the program exits with.
struct VerbFailure: Error {
  /// EX_UNAVAILABLE of sysexits.h: no daemon, or none that answered.
  static let unavailable: Int32 = 69

  /// What to print; empty when there is nobody to tell.
  let sentence: String
  let code: Int32

  /// The daemon said no.
  static func refused(_ sentence: String) -> VerbFailure { VerbFailure(sentence: sentence, code: 1) }

  init(sentence: String, code: Int32) {
    self.sentence = sentence
    self.code = code
  }

  init(_ error: ClientError) {
    let code: Int32 =
      switch error {
      case .noDaemon, .broken: Self.unavailable
      case .otherBuild, .failed: 1
      }
    self.init(sentence: error.description, code: code)
  }
}

/// How long a verb that waits for a session does without a daemon.
struct DaemonOptions: ParsableArguments {
  @Option(
    name: .customLong("wait-for-daemon"),
    help: ArgumentHelp(
      "How long to wait for a daemon that has gone to come back; 0s is not at all.", valueName: "duration"))
  var waitForDaemon = PatienceArgument(duration: SessionFollower.defaultPatience)

  var patience: Duration { waitForDaemon.duration }
}

/// A duration as operators write it, zero included.
struct PatienceArgument: ExpressibleByArgument, Sendable {
  let duration: Duration

  var defaultValueDescription: String { duration.written }

  init(duration: Duration) { self.duration = duration }

  init?(argument: String) {
    guard let duration = Duration(written: argument) else { return nil }
    self.duration = duration
  }
}

enum Conversation {
  /// Connects to the daemon of this configuration, runs `body` on the loop, and exits with the code it returns.
  static func hold(
    _ options: ConfigurationOptions, _ body: @escaping @Loop (Client) async throws(VerbFailure) -> Int32
  ) throws {
    let socket = try options.load().daemon.socketPath
    try onLoop { () async throws(VerbFailure) in try await withClient(of: socket, body) }
  }

  /// Runs `body` on the loop, and exits with the code it returns.
  static func onLoop(_ body: @escaping @Loop () async throws(VerbFailure) -> Int32) throws {
    Signals.block([])
    let result: Result<Int32, VerbFailure>
    do {
      result = try Loop.run(forcedBackend: currentEnvironment()["AGENTD_REACTOR"]) { _ in
        do throws(VerbFailure) {
          return .success(try await body())
        } catch {
          return .failure(error)
        }
      }
    } catch {
      result = .failure(VerbFailure(sentence: "\(error)", code: 1))
    }
    switch result {
    case .success(0): return
    case .success(let code): throw ExitCode(code)
    case .failure(let failure):
      Terminal.complain(failure.sentence)
      throw ExitCode(failure.code)
    }
  }

  /// Connects, runs `body` and ends the connection.
  @Loop static func withClient<Value>(
    of socket: String, _ body: @Loop (Client) async throws(VerbFailure) -> Value
  ) async throws(VerbFailure) -> Value {
    let client: Client
    do throws(ClientError) {
      client = try await Client.connect(to: socket)
    } catch {
      throw VerbFailure(error)
    }
    defer { client.close() }
    return try await body(client)
  }
}

extension Client {
  /// Sends a request and returns the daemon's first answer; a refusal is an error.
  func ask(_ request: Request) async throws(VerbFailure) -> Reply {
    let reply: Reply
    do throws(ClientError) {
      try await send(request)
      reply = try await next()
    } catch {
      throw VerbFailure(error)
    }
    switch reply {
    case .refused(let reason), .busy(let reason): throw .refused(reason)
    case .accepted, .finished, .sessions, .described, .done: return reply
    }
  }

  /// Asks for a session. Never twice: where the connection breaks, nobody knows whether it was heard.
  func begin(_ invocation: InvocationRequest) async throws(VerbFailure) -> AcceptedSession {
    let reply: Reply
    do throws(VerbFailure) {
      reply = try await ask(.run(invocation: invocation))
    } catch {
      guard error.code == VerbFailure.unavailable else { throw error }
      throw VerbFailure(
        sentence:
          "\(error.sentence) Whether a session began is not known: see `agentd ps` once the daemon is back.",
        code: error.code)
    }
    guard case .accepted(let session) = reply else { throw unexpected(reply) }
    return session
  }
}

/// An answer that does not belong to what was asked.
func unexpected(_ reply: Reply) -> VerbFailure {
  VerbFailure(
    sentence: "The daemon answered something that was not asked (\(reply)): "
      + "restart the daemon after replacing the binary.", code: 1)
}
