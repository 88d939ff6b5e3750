// agentd wait: waits for a session's end and exits as `agentd run` would have.

internal import ArgumentParser
internal import Reactor

struct Wait: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "wait", abstract: "Wait for a session's end and exit as `agentd run` does.",
    discussion: """
      For a live session and for one that ended long ago. For the latter no daemon is needed, only its record.

      Exits with 0 for the outcomes success, blocked and nothing_ready, else with the session's own exit code: 124 \
      after the timeout, 1 when the session is not known or was never finished, 69 when no daemon came that could \
      tell. Ctrl-C ends this client and not the session.
      """)

  @OptionGroup var options: ConfigurationOptions
  @OptionGroup var daemonOptions: DaemonOptions

  @Argument(help: "The session's id, as `agentd ps` prints it.")
  var session: String

  @Flag(help: "Print one JSON object at the end.")
  var json = false

  func run() throws {
    let configuration = try options.load()
    let (session, json, patience) = (session, json, daemonOptions.patience)
    try Conversation.onLoop { () async throws(VerbFailure) in
      let running = RunningSession(configuration, patience: patience, isShown: false)
      return try await running.join(session).tell(json: json, after: nil)
    }
  }
}
