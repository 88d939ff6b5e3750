// The name of a session's container, which also says whose it is.

/// `agentd-{daemon8}-{profile}-{session16}`: unique to one session of one profile of one daemon instance.
public struct ContainerName: Sendable, Hashable, CustomStringConvertible {
  /// The name as podman knows it. The parts are read from it: it is what is asked for most.
  public let description: String
  /// The daemon instance: eight lower-case hex digits.
  public var daemon: String {
    part(after: Self.word.utf8.count, before: description.utf8.count - Self.word.utf8.count - 8)
  }
  /// The profile's name.
  public var profile: String { part(after: Self.word.utf8.count + 9, before: 17) }
  /// The session id: sixteen lower-case hex digits.
  public var session: String { part(after: description.utf8.count - 16, before: 0) }

  private static let word = "agentd-"

  private func part(after first: Int, before last: Int) -> String {
    String(decoding: description.utf8.dropFirst(first).dropLast(last), as: UTF8.self)
  }

  /// Builds a name from its parts; nil when a part has not the shape it must have.
  public init?(daemon: String, profile: String, session: String) {
    guard Self.isHex(daemon.utf8, count: 8), Self.isProfile(profile.utf8), Self.isHex(session.utf8, count: 16)
    else { return nil }
    description = "\(Self.word)\(daemon)-\(profile)-\(session)"
  }

  /// Reads a whole name; nil for anything that is not exactly of our shape.
  public init?(_ name: some StringProtocol) {
    // A profile may hold dashes, so the parts are taken from both ends.
    var rest = Substring(name)
    guard rest.hasPrefix(Self.word) else { return nil }
    rest = rest.dropFirst(Self.word.utf8.count)
    guard let first = rest.firstIndex(of: "-"), let last = rest.lastIndex(of: "-"), first < last else {
      return nil
    }
    self.init(
      daemon: String(rest[..<first]), profile: String(rest[rest.index(after: first)..<last]),
      session: String(rest[rest.index(after: last)...]))
  }

  /// What every name of one daemon instance begins with; nil unless `daemon` is eight lower-case hex digits.
  public static func prefix(daemon: String) -> String? {
    return isHex(daemon.utf8, count: 8) ? "\(word)\(daemon)-" : nil
  }

  private static func isHex(_ text: String.UTF8View, count: Int) -> Bool {
    guard text.count == count else { return false }
    return text.allSatisfy { isDigit($0) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0) }
  }

  private static func isProfile(_ text: String.UTF8View) -> Bool {
    guard let first = text.first, isLowerCase(first), text.count <= 32 else { return false }
    return text.allSatisfy {
      isLowerCase($0) || isDigit($0) || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: "-")
    }
  }

  private static func isDigit(_ byte: UInt8) -> Bool {
    return (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
  }

  private static func isLowerCase(_ byte: UInt8) -> Bool {
    return (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
  }
}
