// agentd ping: whether the daemon answers, for health checks.

internal import ArgumentParser
internal import Control
internal import Reactor

struct Ping: ParsableCommand {
  /// How long the daemon may take.
  private static let patience: Duration = .seconds(5)

  static let configuration = CommandConfiguration(
    commandName: "ping", abstract: "Exit with 0 when the daemon answers.",
    discussion:
      "Prints nothing then. Exits with 69 when no daemon listens or when it does not answer within 5 s.")

  @OptionGroup var options: ConfigurationOptions

  func run() throws {
    try Conversation.hold(options) { client throws(VerbFailure) in
      var isLate = false
      let timer = Timer(after: Self.patience) {
        isLate = true
        client.close()
      }
      defer { timer.cancel() }
      do throws(VerbFailure) {
        let reply = try await client.ask(.ping)
        guard case .done = reply else { throw unexpected(reply) }
        return 0
      } catch {
        guard isLate else { throw error }
        throw VerbFailure(
          sentence: "The daemon took the connection and does not answer: see whether it is stopped or hangs.",
          code: VerbFailure.unavailable)
      }
    }
  }
}
