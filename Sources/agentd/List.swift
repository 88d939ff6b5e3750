// agentd ps: which sessions live.

internal import ArgumentParser
internal import Control
internal import JSON

struct List: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ps", abstract: "List the live sessions: id, profile, phase, age, repository.")

  @OptionGroup var options: ConfigurationOptions

  @Flag(help: "Print a JSON array instead of a table.")
  var json = false

  func run() throws {
    let json = json
    try Conversation.hold(options) { client throws(VerbFailure) in
      let reply = try await client.ask(.list)
      guard case .sessions(let sessions) = reply else { throw unexpected(reply) }
      print(json ? printedJSON(sessions.map(Row.init)) : Self.table(sessions))
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

  private static func phase(of session: LiveSession) -> String {
    session.queuePosition.map { "\(session.phase) (\($0))" } ?? session.phase
  }
}

/// What `--json` prints of a session.
private struct Row: JSONObject {
  let session: LiveSession

  private enum Key: String, CodingKey {
    case sessionID = "session_id"
    case profile, phase, repository, scheduled
    case ageMilliseconds = "age_ms"
    case queuePosition = "queue_position"
  }

  func writeFields(to json: inout JSONWriter) {
    json.field(Key.ageMilliseconds, session.ageMilliseconds)
    json.field(Key.phase, session.phase)
    json.field(Key.profile, session.profile)
    // Only of one that is queued.
    json.field(Key.queuePosition, session.queuePosition)
    json.field(Key.repository, session.repository)
    json.field(Key.scheduled, session.isScheduled)
    json.field(Key.sessionID, session.id)
  }
}

/// One value as a line of JSON, which `print` ends.
func printedJSON(_ value: some JSONWritable) -> String {
  var json = JSONWriter()
  value.write(to: &json)
  return json.text()
}
