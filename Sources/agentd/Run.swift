// agentd run: asks the daemon for a session, shows its output, exits as it did.

internal import ArgumentParser
internal import Control
internal import Glibc
internal import Profiles
internal import Reactor

struct Run: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Run a session and show its output.",
    discussion: """
      Exits with 0 for the outcomes success, blocked and nothing_ready, else with the session's own exit code: 124 \
      after the timeout, 1 when the request was refused, 69 when no daemon listens or when one that had gone did not \
      come back in time.

      Ctrl-C stops the session: SIGTERM to its command, SIGKILL 10 s later. A second Ctrl-C leaves it to the daemon. \
      Closing this client in any other way does not end the session.
      """)

  @OptionGroup var options: ConfigurationOptions
  @OptionGroup var daemonOptions: DaemonOptions

  @Argument(help: "The profile's name.")
  var profile: String

  @Argument(help: "The repository to clone instead of the profile's.")
  var repository: String?

  @Option(
    help: ArgumentHelp("What the session is to work on; its command sees AGENTD_WORK_UNIT.", valueName: "id"))
  var workUnit: String?

  @Option(
    help: ArgumentHelp(
      """
      End the session after this long, counted from the start of its setup. The fetch before that may take as long \
      once more.
      """,
      valueName: "duration, like 90s, 15m or 2h"))
  var timeout: DurationArgument?

  @Flag(help: "Print the session's id and leave it to the daemon.")
  var detach = false

  @Flag(help: "Print one JSON object at the end, and nothing of the session's output.")
  var json = false

  func run() throws {
    let request = InvocationRequest(
      profile: profile, repository: repository, workUnit: workUnit,
      timeoutMilliseconds: timeout?.duration.wholeMilliseconds, detach: detach)
    let (json, patience) = (json, daemonOptions.patience)
    let configuration = try options.load()
    // A client that follows its session takes Ctrl-C as a wish to stop it; one that leaves at once just ends.
    if !detach { Signals.block([SIGINT]) }
    try Conversation.onLoop { () async throws(VerbFailure) in
      try await Conversation.withClient(of: configuration.daemon.socketPath) { client throws(VerbFailure) in
        guard request.detach else {
          let running = RunningSession(configuration, patience: patience, isShown: !json)
          return try await running.begin(request, over: client).tell(json: json, after: running.output)
        }
        let session = try await client.begin(request)
        session.tellWhereQueued()
        print(json ? printedJSON(["session_id": session.id, "record": session.record]) : session.id)
        return 0
      }
    }
  }
}

/// A duration as operators write it: `90s`, `15m`, `2h`, `500ms`, `1h30m`; not zero.
struct DurationArgument: ExpressibleByArgument, Sendable {
  let duration: Duration

  init?(argument: String) {
    guard let duration = Duration(written: argument), duration > .zero else { return nil }
    self.duration = duration
  }
}
