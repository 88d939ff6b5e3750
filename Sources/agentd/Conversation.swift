// What the verbs that talk to the daemon have in common: a loop, a connection, and exit codes.

internal import ArgumentParser
internal import Control
internal import Glibc
internal import Reactor

/// How a verb failed, with the code that the program exits with.
struct VerbFailure: Error {
  let sentence: String
  let code: Int32
  /// Whether the daemon said no; otherwise it may not have heard the request.
  let isRefusal: Bool

  /// The daemon said no.
  static func refused(_ sentence: String) -> VerbFailure {
    VerbFailure(sentence: sentence, code: 1, isRefusal: true)
  }

  init(sentence: String, code: Int32, isRefusal: Bool = false) {
    self.sentence = sentence
    self.code = code
    self.isRefusal = isRefusal
  }

  init(_ error: ClientError) {
    switch error {
    // EX_UNAVAILABLE of sysexits.h.
    case .noDaemon: self.init(sentence: error.description, code: 69)
    case .failed: self.init(sentence: error.description, code: 1)
    }
  }
}

enum Conversation {
  /// Connects to the daemon of this configuration, runs `body` on the loop, and exits with the code it returns.
  static func hold(
    _ options: ConfigurationOptions, _ body: @escaping @Loop (Client) async throws(VerbFailure) -> Int32
  ) throws {
    Signals.block([])
    let socket = try options.load().daemon.socketPath
    let result: Result<Int32, VerbFailure>
    do {
      result = try Loop.run(forcedBackend: currentEnvironment()["AGENTD_REACTOR"]) { _ in
        do throws(VerbFailure) {
          return .success(try await withClient(of: socket, body))
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

  @Loop private static func withClient(
    of socket: String, _ body: @Loop (Client) async throws(VerbFailure) -> Int32
  ) async throws(VerbFailure) -> Int32 {
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
    do throws(ClientError) {
      try await send(request)
    } catch {
      throw VerbFailure(error)
    }
    return try await answer()
  }

  /// The daemon's next answer; a refusal is an error.
  func answer() async throws(VerbFailure) -> Reply {
    let reply: Reply
    do throws(ClientError) {
      reply = try await next()
    } catch {
      throw VerbFailure(error)
    }
    if case .refused(let reason) = reply { throw VerbFailure.refused(reason) }
    return reply
  }
}

/// An answer that does not belong to what was asked.
func unexpected(_ reply: Reply) -> VerbFailure {
  VerbFailure(
    sentence: "The daemon answered something that was not asked (\(reply)): "
      + "restart the daemon after replacing the binary.", code: 1)
}
