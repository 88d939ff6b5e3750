// Why a text is not a cron expression.

/// Everything that is wrong with one expression, at least one problem, in the order of the fields.
public struct CronError: Error, Sendable, Equatable, CustomStringConvertible {
  /// One thing that is wrong.
  public struct Problem: Sendable, Equatable, CustomStringConvertible {
    /// The field that is wrong; nil when the expression as a whole is.
    public let field: CronField?
    /// What is wrong and what was expected: one sentence, printable ASCII, no full stop.
    public let message: String

    /// The message, after the field's name where there is one.
    public var description: String {
      guard let field else { return message }
      return "\(field.rawValue) \(message)"
    }
  }

  /// The problems, never empty.
  public let problems: [Problem]

  init(_ problems: [Problem]) { self.problems = problems }

  init(_ message: String) { self.init([Problem(field: nil, message: message)]) }

  /// All problems in one line.
  public var description: String { problems.map(\.description).joined(separator: "; ") }
}

/// What is wrong inside one field, before the field's name is known.
struct Complaint: Error {
  let message: String
}
