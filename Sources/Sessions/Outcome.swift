// What a session's end means, by the exit code of its command.

/// The end of a session in one word.
public enum Outcome: Sendable, Hashable, CaseIterable {
  /// 0: the work is done.
  case success
  /// 1, and every code without a meaning of its own.
  case genericFailure
  /// 2: the command was called wrongly.
  case usageError
  /// 3: the work waits for something or somebody.
  case blocked
  /// 4: there was nothing to work on.
  case nothingReady
  /// 5: the work was tried and failed.
  case workFailed
  /// 6: what the command needs around it failed, the setup of the container included.
  case infrastructureFailure
  /// 126, by the shell's convention.
  case commandNotExecutable
  /// 127, by the shell's convention.
  case commandNotFound
  /// 129 and above: 128 and the signal's number.
  case terminatedBySignal
  /// The deadline ended it.
  case timedOut
  /// It failed before it had an outcome.
  case error

  /// - Parameter exitCode: of the session's command, 0...255.
  public init(exitCode: Int32) {
    self =
      switch exitCode {
      case 0: .success
      case 2: .usageError
      case 3: .blocked
      case 4: .nothingReady
      case 5: .workFailed
      case 6: .infrastructureFailure
      case 126: .commandNotExecutable
      case 127: .commandNotFound
      case 129...: .terminatedBySignal
      default: .genericFailure
      }
  }

  /// The outcome that is spelt so; nil for a word of another build.
  public init?(label: String) {
    guard let outcome = Self.allCases.first(where: { $0.label == label }) else { return nil }
    self = outcome
  }

  /// As the record, the events and `agentd run` spell it.
  public var label: String {
    switch self {
    case .success: "success"
    case .genericFailure: "generic_failure"
    case .usageError: "usage_error"
    case .blocked: "blocked"
    case .nothingReady: "nothing_ready"
    case .workFailed: "work_failed"
    case .infrastructureFailure: "infrastructure_failure"
    case .commandNotExecutable: "command_not_executable"
    case .commandNotFound: "command_not_found"
    case .terminatedBySignal: "terminated_by_signal"
    case .timedOut: "timed_out"
    case .error: "error"
    }
  }

  /// Whether `agentd run` exits with 0: there is nothing for the operator to mend.
  public var isSuccess: Bool {
    switch self {
    case .success, .blocked, .nothingReady: true
    case .genericFailure, .usageError, .workFailed, .infrastructureFailure, .commandNotExecutable,
      .commandNotFound, .terminatedBySignal, .timedOut, .error:
      false
    }
  }
}
