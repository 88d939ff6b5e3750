// How far the setup inside a container came, as it wrote into the report file.

/// What the lines of ``SetupScript/reportPath`` say.
///
/// Only root in the container can write them. A container that ended before ``Phase/command`` never ran the
/// profile's command: whatever its exit code, the session failed in its setup.
public struct SetupReport: Sendable, Equatable {
  /// The last step that was entered.
  public enum Phase: Sendable, Equatable, Comparable {
    /// Nothing was written: the setup script waits for the envelope, prepares the user, or never ran.
    case preparing
    /// The clone.
    case clone
    /// The command, or what reads its credentials.
    case command
  }

  /// The last step that was entered.
  public private(set) var phase: Phase = .preparing
  /// Whether the setup found the other end of its FIFO gone before it had its part of the envelope.
  public private(set) var isUnreleased = false
  /// Whether the mirror that was mounted could not be cloned.
  public private(set) var isMirrorBroken = false
  /// The cloned commit in hex; nil before the clone is done and for an empty repository.
  public private(set) var commit: String?

  /// Reads the file as it stands; a line that is still being written, or that is not one of ours, is ignored.
  public init(parsing bytes: some Collection<UInt8>) {
    let newline = UInt8(ascii: "\n")
    guard let end = bytes.indices.reversed().first(where: { bytes[$0] == newline }) else { return }
    for line in bytes[..<end].split(separator: newline) {
      let text = String(decoding: line, as: UTF8.self)
      switch text {
      case "clone": phase = max(phase, .clone)
      case "command": phase = .command
      case "unreleased": isUnreleased = true
      case "mirror": isMirrorBroken = true
      default:
        guard text.hasPrefix("commit ") else { continue }
        let name = text.dropFirst("commit ".count)
        // SHA-1 or SHA-256.
        if name.utf8.count == 40 || name.utf8.count == 64, name.allSatisfy(\.isHexDigit) {
          commit = String(name)
        }
      }
    }
  }
}
