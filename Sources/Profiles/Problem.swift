// What is wrong with a configuration file or with a value, said so that the operator can act on it.

/// One thing that is wrong with a configuration file.
public struct Problem: Sendable, Equatable, CustomStringConvertible {
  /// The absolute path of the file.
  public let file: String
  /// The line, counted from 1, where it is known.
  public let line: Int?
  /// The profile's name, or a form like `number 2` when it has no valid name of its own; nil outside of
  /// the profiles.
  public let profile: String?
  /// The field, such as `base_image`, `mount number 2, target` or `daemon.socket_path`; nil when the
  /// problem is not with a field.
  public let field: String?
  /// What is wrong and what to do: one line, never with the value of a credential or a repository URL.
  public let message: String

  /// One line: file, line, profile, field and message.
  public var description: String {
    var place = file
    if let line { place += ":\(line)" }
    let subject = [profile.map { "profile \($0)" }, field].compactMap(\.self).joined(separator: ", ")
    return subject.isEmpty ? "\(place): \(message)" : "\(place): \(subject): \(message)"
  }
}

/// Everything that is wrong with a configuration file.
public struct ConfigurationError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The problems in the order of their lines, never empty. A file that cannot be read or is not TOML has
  /// exactly one.
  public let problems: [Problem]

  /// One line per problem.
  public var description: String { problems.map(\.description).joined(separator: "\n") }
}

/// Why a value that somebody gave is not one.
public struct InvalidValue: Error, Sendable, Equatable, CustomStringConvertible {
  /// What is wrong and what to do: one line that goes on after the name of the value.
  public let message: String

  /// The message.
  public var description: String { message }
}
