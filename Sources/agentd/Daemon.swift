// agentd daemon: runs in the foreground until a signal ends it.

internal import ArgumentParser
internal import Daemon
internal import Glibc
internal import Reactor

struct Daemon: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "daemon",
    abstract: "Run the daemon in the foreground.",
    discussion: """
      The first SIGINT, SIGTERM or SIGHUP ends what is queued, lets running sessions finish and then exits with 0; \
      the second exits at once and leaves its sessions to the next daemon. SIGUSR1 makes the daemon exit as soon as its sessions need no \
      daemon, and leaves them to the next one; `--replace` sends it. SIGHUP is ignored when it was ignored at the start, as under nohup.

      AGENTD_REACTOR=io_uring|epoll forces the kernel interface. AGENTD_LOG_FORMAT=json|pretty and \
      AGENTD_LOG=info or AGENTD_LOG=info,runner=debug set the log.
      """)

  @OptionGroup var options: ConfigurationOptions

  @Flag(help: "Take over from a daemon that runs with this configuration. Its sessions go on.")
  var replace = false

  func run() throws {
    // Before any thread exists: none may be left on which a signal has its default effect.
    Signals.block(Service.signals)
    DescriptorLimit.raise()
    CoreDumps.disable()
    let environment = currentEnvironment()
    let settings = try refusing { try LogSettings(environment: environment) }
    let configuration = try options.load()
    EventLog.install(settings)
    let failure: StartFailure? = try refusing {
      try Loop.run(forcedBackend: environment["AGENTD_REACTOR"]) { choice in
        let service = Service(
          configuration: configuration, environment: environment, sealCommand: SealRecord.words,
          isReplacing: replace)
        do throws(StartFailure) {
          try await service.run(backend: choice)
          return nil
        } catch {
          return error
        }
      }
    }
    if let failure { try refusing { throw failure } }
  }

  private func refusing<Result>(_ body: () throws -> Result) throws -> Result {
    do {
      return try body()
    } catch {
      Terminal.complain("\(error)")
      throw ExitCode(1)
    }
  }
}
