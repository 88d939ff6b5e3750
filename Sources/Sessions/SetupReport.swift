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
    var line: [UInt8] = []
    line.reserveCapacity(Self.longestLine + 1)
    for byte in bytes {
      if byte == UInt8(ascii: "\n") {
        take(line)
        line.removeAll(keepingCapacity: true)
      } else if line.count <= Self.longestLine {
        line.append(byte)
      }
    }
  }

  private static let commitWord = Array("commit ".utf8)
  /// A commit's name is one of SHA-1 or of SHA-256, in hex.
  private static let commitLengths = [40, 64]
  private static let longestLine = commitWord.count + 64

  private mutating func take(_ line: [UInt8]) {
    if line.elementsEqual("clone".utf8) {
      phase = max(phase, .clone)
    } else if line.elementsEqual("command".utf8) {
      phase = .command
    } else if line.elementsEqual("unreleased".utf8) {
      isUnreleased = true
    } else if line.elementsEqual("mirror".utf8) {
      isMirrorBroken = true
    } else if line.starts(with: Self.commitWord) {
      let name = line[Self.commitWord.count...]
      guard Self.commitLengths.contains(name.count), name.allSatisfy(Self.isHexDigit) else { return }
      commit = String(decoding: name, as: UTF8.self)
    }
  }

  private static func isHexDigit(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
      UInt8(ascii: "A")...UInt8(ascii: "F"):
      true
    default: false
    }
  }
}
