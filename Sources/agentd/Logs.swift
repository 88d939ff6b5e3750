// agentd logs: what a session wrote, while it lives and ever after.

internal import ArgumentParser
internal import Control
internal import Daemon
internal import Profiles
internal import Reactor

struct Logs: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "logs", abstract: "Print what a session wrote.",
    discussion: """
      What it wrote to stdout goes to stdout and what it wrote to stderr to stderr, byte for byte. Where agentd has \
      something to say of the session's end, that is the last line of its stderr and begins with `agentd: `.

      Needs no daemon for what is on disk. With --follow it exits with 0 when the session has ended, with 69 when no \
      daemon came that could tell, with 1 when the session is not known or was never finished.
      """)

  @OptionGroup var options: ConfigurationOptions
  @OptionGroup var daemonOptions: DaemonOptions

  @Flag(name: .shortAndLong, help: "Go on until the session has ended.")
  var follow = false

  @Argument(help: "The session's id, as `agentd ps` prints it.")
  var session: String

  func run() throws {
    let configuration = try options.load()
    let (session, follow, patience) = (session, follow, daemonOptions.patience)
    try Conversation.onLoop { () async throws(VerbFailure) in
      if follow {
        let running = RunningSession(configuration, patience: patience, isShown: true)
        _ = try await running.join(session)
        return running.output == nil ? 1 : 0
      }
      let output = try SessionOutput(try await Self.consoleLog(of: session, in: configuration))
      await output.showRest()
      try output.requireTaken()
      return 0
    }
  }

  /// The log's path: by the audit root, or else by the daemon, which may have another.
  @Loop private static func consoleLog(
    of session: String, in configuration: Configuration
  ) async throws(VerbFailure) -> String {
    switch try recordedSession(session, in: configuration) {
    case .ended(_, let record), .incomplete(let record): return record.consoleLogPath
    case .unknown: break
    }
    return try await Conversation.withClient(of: configuration.daemon.socketPath) {
      client throws(VerbFailure) in
      let reply = try await client.ask(.follow(session: session))
      guard case .accepted(let accepted) = reply else { throw unexpected(reply) }
      return accepted.consoleLog
    }
  }
}
