// How a session ended, for whoever asked for it.

/// What ended a session's container, or kept it from ever running.
enum Ending: Sendable {
  /// The command ended with this code.
  case exited(Int32)
  /// The deadline ended it; the code is what the command made of that.
  case timedOut(Int32?)
  /// The setup inside the container failed. The sentence is for what the setup could not say itself.
  case setupFailed(Int32, String?)
  /// It failed before it had an outcome.
  case failed(String)
}

/// A session's end: outcome, exit code, and what went wrong around it.
public struct Conclusion: Sendable {
  /// The outcome.
  public let outcome: Outcome
  /// The exit code, 0...255; nil when there never was one.
  public let exitCode: Int32?
  /// Why it failed, where its command or its setup could not say so. console.log ends with it.
  public let reason: String?
  /// Why its record is incomplete: sentences.
  public internal(set) var problems: [String] = []
  /// From acceptance to the sealed record.
  public internal(set) var duration: Duration = .zero

  /// The signal that ended the command, by the shell's convention.
  public var signal: Int32? { exitCode.flatMap { $0 > 128 ? $0 - 128 : nil } }

  init(_ ending: Ending) {
    switch ending {
    case .exited(let code):
      outcome = Outcome(exitCode: code)
      exitCode = code
      reason = nil
    case .timedOut(let code):
      outcome = .timedOut
      exitCode = code
      reason = nil
    case .setupFailed(let code, let sentence):
      outcome = .infrastructureFailure
      exitCode = code
      reason = sentence
    case .failed(let sentence):
      outcome = .error
      exitCode = nil
      reason = sentence
    }
  }
}
