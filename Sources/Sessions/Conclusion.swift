// How a session ended, for whoever asked for it.

internal import Audit
internal import JSON

/// What ended a session's container, or kept it from ever running.
enum Ending: Sendable, Decodable, Equatable {
  /// The command ended with this code.
  case exited(code: Int32)
  /// The deadline ended it; the code is what the command made of that.
  case timedOut(code: Int32?)
  /// The setup inside the container failed. The reason is for what the setup could not say itself.
  case setupFailed(code: Int32, reason: String?)
  /// It failed before it had an outcome.
  case failed(reason: String)

  /// What the exit of a container means that nobody has killed.
  ///
  /// - Parameters:
  ///   - code: the container's exit code; nil when nobody knows it.
  ///   - report: what its setup wrote; nil when that is lost.
  ///   - wasCut: whether a daemon that ended may have taken a part of its envelope with it.
  ///   - wasStopped: whether somebody asked for its end.
  ///   - image: the profile's base image, for the sentence.
  init(code: Int32?, report: SetupReport?, wasCut: Bool, wasStopped: Bool, image: String) {
    guard let code, (0...255).contains(code) else {
      self = .failed(reason: "How the container ended is not known: see the events of this session.")
      return
    }
    // What reads the credentials cannot report, and says by its code that they ended early.
    let hasNoCredentials = wasCut && report?.phase == .command && code == SetupScript.failureCode
    if report?.isUnreleased == true || hasNoCredentials {
      self = .failed(reason: Self.unreleased)
      return
    }
    guard let report, report.phase != .command, !wasStopped else {
      self = .exited(code: code)
      return
    }
    if code == SetupScript.failureCode {
      // The setup has said why.
      self = .setupFailed(code: code, reason: nil)
    } else if code == 1, report.phase == .preparing {
      self = .noShell(image)
    } else {
      self = .setupFailed(
        code: SetupScript.failureCode,
        reason: "the container ended with exit code \(code) before its setup came to the command")
    }
  }

  /// What a record says that was to be complete: an ending that it would be completed with again, word for word.
  ///
  /// - Returns: nil for a record without an outcome, and for one that no ending of this build leads to.
  init?(_ metadata: Metadata) {
    switch metadata.outcome.flatMap({ Outcome(label: $0) }) {
    case nil: return nil
    case .error: self = .failed(reason: metadata.error ?? "")
    case .timedOut: self = .timedOut(code: metadata.exitCode)
    // Of the command or of the setup: it is one to whoever reads the record.
    case .infrastructureFailure:
      guard let code = metadata.exitCode else { return nil }
      self = .setupFailed(code: code, reason: metadata.error)
    case .success, .genericFailure, .usageError, .blocked, .nothingReady, .workFailed, .commandNotExecutable,
      .commandNotFound, .terminatedBySignal:
      guard let code = metadata.exitCode else { return nil }
      self = .exited(code: code)
    }
    let conclusion = Conclusion(self)
    guard conclusion.outcome.label == metadata.outcome, conclusion.exitCode == metadata.exitCode,
      conclusion.signal == metadata.signal, conclusion.reason == metadata.error
    else { return nil }
  }

  /// The image cannot run the setup at all.
  static func noShell(_ image: String) -> Ending {
    .setupFailed(
      code: SetupScript.failureCode,
      reason: "the image \(image) has no usable /bin/sh: add one to the profile's base_image")
  }

  /// The reason of a session whose container never got its envelope.
  static let unreleased =
    "The daemon ended before it had handed the session over to its container, so the command was not run."
}

extension Ending: JSONObject {
  func writeFields(to json: inout JSONWriter) {
    switch self {
    case .exited(let code):
      json.field(CodingKeys.exited) { $0.field(ExitedCodingKeys.code, code) }
    case .timedOut(let code):
      json.field(CodingKeys.timedOut) { $0.field(TimedOutCodingKeys.code, code) }
    case .setupFailed(let code, let reason):
      json.field(CodingKeys.setupFailed) {
        $0.field(SetupFailedCodingKeys.code, code)
        $0.field(SetupFailedCodingKeys.reason, reason)
      }
    case .failed(let reason):
      json.field(CodingKeys.failed) { $0.field(FailedCodingKeys.reason, reason) }
    }
  }
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
