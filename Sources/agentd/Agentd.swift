// The command line: which verbs there are.

internal import ArgumentParser
internal import Control
internal import Reactor

@main
enum Program {
  static func main() {
    StandardDescriptors.open()
    Agentd.main()
  }
}

struct Agentd: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "agentd",
    abstract: "Runs autonomous AI agent sessions in ephemeral Podman containers.",
    discussion: """
      The daemon runs in the foreground; every other verb that needs it talks to it over its Unix socket, with the \
      same configuration. Without a verb, agentd is the daemon.
      """,
    version: Build.version,
    subcommands: [
      Daemon.self, Run.self, List.self, Show.self, Wait.self, Logs.self, Stop.self, Schedule.self, Check.self,
      Ping.self, SealRecord.self,
    ],
    defaultSubcommand: Daemon.self)

  @OptionGroup var options: ConfigurationOptions
}
