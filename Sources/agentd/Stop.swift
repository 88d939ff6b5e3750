// agentd stop: ends a session.

internal import ArgumentParser
internal import Control

struct Stop: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stop", abstract: "End a live session.",
    discussion: "SIGTERM to its command now, SIGKILL 10 s later. Its record is sealed as always.")

  @OptionGroup var options: ConfigurationOptions

  @Argument(help: "The session's id, as `agentd ps` prints it.")
  var session: String

  func run() throws {
    let session = session
    try Conversation.hold(options) { client throws(VerbFailure) in
      let reply = try await client.ask(.stop(session: session))
      guard case .done = reply else { throw unexpected(reply) }
      return 0
    }
  }
}
