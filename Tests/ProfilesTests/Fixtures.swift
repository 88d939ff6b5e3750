// A host and a smallest configuration for the tests to change.

import Profiles

/// A root's host with a HOME, on which every path exists but those below /missing.
func testHost(
  environment: [String: String] = ["HOME": "/root"], effectiveUserID: UInt32 = 0
) -> Host {
  Host(
    environment: environment, effectiveUserID: effectiveUserID, workingDirectory: "/srv/here",
    exists: { !$0.hasPrefix("/missing") })
}

/// A valid profile, with lines of its own after its fields and one field left out.
func profile(_ lines: String = "", name: String = "alpha", without left: String? = nil) -> String {
  let fields = [
    ("name", "\"\(name)\""), ("base_image", "\"image:1\""), ("methodology_dir", "\"method\""),
    ("command", "[\"/bin/true\"]"),
  ]
  let kept = fields.filter { $0.0 != left }.map { "\($0.0) = \($0.1)" }
  return (["[[profiles]]"] + kept + [lines]).joined(separator: "\n") + "\n"
}

/// A valid profile in which one field has another value, as TOML.
func profile(_ field: String, _ value: String) -> String {
  profile("\(field) = \(value)", without: field)
}

/// A valid profile with a mount.
func mount(source: String = "/srv/data", target: String) -> String {
  profile("[[profiles.mounts]]\nsource = '\(source)'\ntarget = '\(target)'\nread_only = true")
}

/// What /etc/agentd/agentd.toml would say with this text in it.
func configuration(_ text: String, host: Host = testHost()) throws -> Configuration {
  try Configuration.parse(text, path: "/etc/agentd/agentd.toml", host: host)
}

/// The problems of a text, none when it is valid.
func problems(_ text: String, host: Host = testHost()) -> [Problem] {
  do {
    _ = try Configuration.parse(text, path: "/etc/agentd/agentd.toml", host: host)
    return []
  } catch {
    return error.problems
  }
}

/// The problems of a text as `field: message`.
func complaints(_ text: String, host: Host = testHost()) -> [String] {
  problems(text, host: host).map { "\($0.field ?? "-"): \($0.message)" }
}
