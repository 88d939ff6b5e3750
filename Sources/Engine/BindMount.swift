// A host path inside a container, as podman's --mount spells it.

internal import Glibc

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

  /// What a specification takes beside the two paths: `type=bind,src=,dst=,ro,relabel=shared`.
  private static let roomForWords = 40

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
    var record = "type=bind,"
    // A launch has some, and a string that grows is moved each time.
    record.reserveCapacity(source.utf8.count + target.utf8.count + Self.roomForWords)
    appendField("src=", source, to: &record)
    record += ","
    appendField("dst=", target, to: &record)
    if isReadOnly { record += ",ro" }
    if isRelabelled { record += ",relabel=shared" }
    return record
  }
}

/// Appends `name` and then `value` as one field of a CSV record (RFC 4180), the way podman reads `--mount` and `--log-opt`.
///
/// - Parameter name: without anything that is special in such a record.
func appendField(_ name: String, _ value: String, to record: inout String) {
  guard value.withCString({ strpbrk($0, ",\"\n\r") }) != nil else {
    record += name
    record += value
    return
  }
  record += "\"\(name)"
  for scalar in value.unicodeScalars {
    if scalar == "\"" { record += "\"" }
    record.unicodeScalars.append(scalar)
  }
  record += "\""
}
