// A profile of a test, and the configuration file it is written to.

/// What a `[[profiles]]` table says.
struct Profile {
  var name = "site"
  var image: String?
  var methodology = "methodology"
  var repository: String? = "plain"
  var repositoryCache: Bool?
  var tokenSource: String?
  var command: [String]
  var mounts: [(source: String, target: String, readOnly: Bool)] = []
  var credentials: [(name: String, source: String)] = []
  var schedule: String?
  var timezone: String?
  var overlap: String?
  var jitter: String?

  init(name: String = "site", command: [String]) {
    self.name = name
    self.command = command
  }

  /// A profile whose command is a script for the image's shell.
  static func shell(_ script: String, name: String = "site") -> Profile {
    return Profile(name: name, command: ["/bin/sh", "-c", script])
  }

  /// A profile whose session runs until the gate opens. The gate is mounted at /gate.
  static func gated(_ gate: Gate, _ script: String = "echo ready; read word </gate/gate; echo \"$word\"")
    -> Profile
  {
    var profile = Profile.shell(script)
    profile.mounts = [(gate.directory, "/gate", false)]
    return profile
  }

  /// The table.
  func toml() throws -> String {
    var lines = [
      "[[profiles]]", "name = \(quoted(name))", "base_image = \(quoted(try image ?? Host.image()))",
      "methodology_dir = \(quoted(methodology))",
      "command = [\(command.map(quoted).joined(separator: ", "))]",
    ]
    if let repository {
      let url = repository.contains("://") ? repository : try Repositories.url(repository)
      lines.append("repo = \(quoted(url))")
    }
    if let repositoryCache { lines.append("repo_cache = \(repositoryCache)") }
    for (key, value) in [
      ("repo_token_source", tokenSource), ("schedule", schedule), ("timezone", timezone),
      ("overlap", overlap), ("jitter", jitter),
    ] {
      if let value { lines.append("\(key) = \(quoted(value))") }
    }
    for mount in mounts {
      lines += [
        "[[profiles.mounts]]", "source = \(quoted(mount.source))", "target = \(quoted(mount.target))",
        "read_only = \(mount.readOnly)",
      ]
    }
    for credential in credentials {
      lines += [
        "[[profiles.credentials]]", "name = \(quoted(credential.name))",
        "source = \(quoted(credential.source))",
      ]
    }
    return lines.joined(separator: "\n") + "\n"
  }
}

/// A TOML basic string.
private func quoted(_ text: String) -> String {
  var result = "\""
  for scalar in text.unicodeScalars {
    switch scalar {
    case "\"", "\\": result += "\\\(scalar)"
    case "\n": result += "\\n"
    case "\t": result += "\\t"
    default: result.unicodeScalars.append(scalar)
    }
  }
  return result + "\""
}
