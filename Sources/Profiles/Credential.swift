// A credential of a profile: a variable of the session and the daemon's variable that its value comes from.

/// A secret that a session's command finds in its environment. The value is read when a session starts
/// and is no part of the configuration.
public struct Credential: Sendable, Equatable {
  /// The variable in the session's environment: a shell identifier.
  public let name: String
  /// The variable in the daemon's environment.
  public let source: String

  /// A credential with these names, which are taken to be checked.
  public init(name: String, source: String) {
    self.name = name
    self.source = source
  }
}

extension Credential {
  private static let keys = ["name", "source"]

  /// Reads one `[[profiles.credentials]]` table; nil after at least one report.
  init?(_ section: Section) {
    section.refuseKeys(except: Self.keys)
    let name = Self.name(section)
    let source = section.filledString("source", required: true).flatMap { source in
      Self.variable(source, "source", section)
    }
    guard let name, let source else { return nil }
    self.init(name: name, source: source)
  }

  private static func name(_ section: Section) -> String? {
    guard let name = section.filledString("name", required: true) else { return nil }
    guard name.isShellIdentifier, name.utf8.count <= Limits.variableNameBytes else {
      section.report(
        "name",
        "\(name.quoted) is not a variable's name; use letters, digits and _, no digit first, "
          + "at most \(Limits.variableNameBytes)")
      return nil
    }
    guard name != "PROFILE_NAME", !name.utf8.starts(with: "AGENTD_".utf8) else {
      section.report("name", "\(name.quoted) is reserved: agentd sets it or may come to; use another name")
      return nil
    }
    return name
  }

  /// Checks the name of a variable of the daemon. The message does not repeat it: a value that does not
  /// look like a name may be the secret itself, put in the wrong place.
  static func variable(_ text: String, _ key: String, _ section: Section) -> String? {
    guard text.isShellIdentifier, text.utf8.count <= Limits.variableNameBytes else {
      section.report(
        key,
        "must be the name of an environment variable, not its value: letters, digits and _, "
          + "no digit first, at most \(Limits.variableNameBytes)")
      return nil
    }
    return text
  }
}
