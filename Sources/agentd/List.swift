// agentd ps: which sessions live.

internal import ArgumentParser
internal import Control
internal import FoundationEssentials

struct List: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ps", abstract: "List the live sessions: id, profile, phase, age, repository.")

  @OptionGroup var options: ConfigurationOptions

  @Flag(help: "Print a JSON array instead of a table.")
  var json = false

  private struct Row: Encodable {
    var session_id: String
    var profile: String
    var phase: String
    var age_ms: UInt64
    var repository: String
    var scheduled: Bool
    /// Only of one that is queued.
    var queue_position: Int?
  }

  func run() throws {
    let json = json
    try Conversation.hold(options) { client throws(VerbFailure) in
      let reply = try await client.ask(.list)
      guard case .sessions(let sessions) = reply else { throw unexpected(reply) }
      print(json ? Self.json(sessions) : Self.table(sessions))
      return 0
    }
  }

  private static func table(_ sessions: [LiveSession]) -> String {
    Terminal.table(
      ["SESSION", "PROFILE", "PHASE", "AGE", "REPOSITORY"],
      sessions.map {
        [$0.id, $0.profile, phase(of: $0), Terminal.age(milliseconds: $0.ageMilliseconds), $0.repository]
      })
  }

  private static func json(_ sessions: [LiveSession]) -> String {
    printedJSON(
      sessions.map {
        Row(
          session_id: $0.id, profile: $0.profile, phase: $0.phase, age_ms: $0.ageMilliseconds,
          repository: $0.repository, scheduled: $0.isScheduled, queue_position: $0.queuePosition)
      })
  }

  private static func phase(of session: LiveSession) -> String {
    session.queuePosition.map { "\(session.phase) (\($0))" } ?? session.phase
  }
}

/// One value as a line of JSON.
func printedJSON(_ value: some Encodable) -> String {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
  guard let data = try? encoder.encode(value) else { preconditionFailure("plain values have a JSON form") }
  return String(decoding: data, as: UTF8.self)
}
