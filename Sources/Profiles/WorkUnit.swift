// The work unit of a session: the name of what it should work on, given by whoever starts it.

/// What a session should work on, such as `issue-42`: 1 to 256 bytes without control characters.
public struct WorkUnit: Sendable, Equatable, Hashable, CustomStringConvertible {
  /// The longest work unit, in bytes of UTF-8.
  public static let byteLimit = 256

  /// The work unit as it was given.
  public let text: String

  /// The work unit as it was given.
  public var description: String { text }

  /// Checks a work unit.
  ///
  /// - Throws: `InvalidValue` when it is empty, too long or holds a control character.
  public init(_ text: String) throws(InvalidValue) {
    guard !text.isEmpty else { throw InvalidValue(message: "must not be empty; leave it out instead") }
    guard text.utf8.count <= Self.byteLimit else {
      throw InvalidValue(message: "is longer than \(Self.byteLimit) bytes; use a shorter name")
    }
    guard !text.hasControlCharacter else {
      throw InvalidValue(message: "must not hold a newline or another control character")
    }
    self.text = text
  }
}
