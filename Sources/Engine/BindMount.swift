// A host path inside a container, as podman's --mount spells it.

/// One bind mount.
public struct BindMount: Sendable, Equatable {
  /// An absolute path on the host that exists. Any byte but NUL may occur in it.
  public var source: String
  /// An absolute path in the container.
  public var target: String
  /// Whether the container may not write to it.
  public var isReadOnly: Bool
  /// Whether podman gives the source a label that all containers share, where SELinux is in force.
  public var isRelabelled: Bool

  /// Describes a mount of `source` at `target`.
  public init(source: String, target: String, isReadOnly: Bool = false, isRelabelled: Bool = false) {
    self.source = source
    self.target = target
    self.isReadOnly = isReadOnly
    self.isRelabelled = isRelabelled
  }

  /// The value of `--mount`: one CSV record since Podman 4.1 (containers/podman#13969), so each field is
  /// quoted by itself and commas, colons, quotes and newlines in a path are safe. `--volume` cannot say a colon.
  public var specification: String {
    var record = "type=bind,\(commaSeparatedField("src=\(source)")),\(commaSeparatedField("dst=\(target)"))"
    if isReadOnly { record += ",ro" }
    if isRelabelled { record += ",relabel=shared" }
    return record
  }
}

/// A value as one field of a CSV record (RFC 4180), the way podman reads `--mount` and `--log-opt`.
func commaSeparatedField(_ value: String) -> String {
  var text = value
  let special = text.withUTF8 { bytes in
    bytes.contains { byte in
      byte == UInt8(ascii: ",") || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\n")
        || byte == UInt8(ascii: "\r")
    }
  }
  guard special else { return value }
  var field = "\""
  for scalar in value.unicodeScalars {
    if scalar == "\"" { field += "\"" }
    field.unicodeScalars.append(scalar)
  }
  return field + "\""
}
