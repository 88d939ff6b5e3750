// How the verbs that wait for a session tell of its end: an object, a closing line, an exit code.

internal import Control
internal import JSON
internal import Reactor

/// What `--json` prints of a session that has ended. Absent values are printed as null.
struct FinishedReport: JSONObject {
  let finished: FinishedSession

  init(_ finished: FinishedSession) { self.finished = finished }

  private enum Key: String, CodingKey {
    case sessionID = "session_id"
    case profile, outcome
    case exitCode = "exit_code"
    case signal
    case durationMilliseconds = "duration_ms"
    case record
  }

  func writeFields(to json: inout JSONWriter) {
    json.field(Key.durationMilliseconds, finished.durationMilliseconds)
    json.field(Key.exitCode, orNull: finished.exitCode)
    json.field(Key.outcome, finished.outcome)
    json.field(Key.profile, finished.profile)
    json.field(Key.record, finished.record)
    json.field(Key.sessionID, finished.id)
    json.field(Key.signal, orNull: finished.signal)
  }
}

extension FinishedSession {
  /// Prints the end on stderr, before it the object on stdout where one is asked for, and returns the code to exit with.
  ///
  /// - Parameter output: what of the session's output was shown, which has then ended with its reason.
  @Loop
  func tell(json: Bool, after output: SessionOutput?) -> Int32 {
    if json { print(printedJSON(FinishedReport(self))) }
    output?.endLine()
    if output == nil, let reason { Terminal.complain(reason) }
    for problem in problems { Terminal.complain(problem) }
    // The session's end is what counts; but who wrote its output to a full disk is to know.
    do throws(VerbFailure) { try output?.requireTaken() } catch { Terminal.complain(error.sentence) }
    let code = outcome == "success" ? nil : exitCode
    Terminal.note("session \(outcome)" + (code.map { " (exit code \($0))" } ?? ""))
    if isSuccess { return 0 }
    // timeout(1)'s convention.
    if outcome == "timed_out" { return 124 }
    return exitCode ?? 1
  }
}
