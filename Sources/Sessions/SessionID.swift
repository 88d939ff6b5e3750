// The name of one session, unique among all of them.

/// 16 hex digits of the kernel's randomness.
public struct SessionID: Sendable, Hashable, CustomStringConvertible {
  /// 16 lower-case hex digits.
  public let description: String

  /// Draws a new one.
  public static func random() -> SessionID {
    // The standard library's generator is getrandom(2) on Linux.
    let digits = String(UInt64.random(in: .min ... .max), radix: 16)
    return SessionID(description: String(repeating: "0", count: 16 - digits.count) + digits)
  }

  /// Reads one that was printed; nil for anything that is not 16 lower-case hex digits.
  public init?(_ text: String) {
    guard text.utf8.count == 16, text.utf8.allSatisfy({ (48...57).contains($0) || (97...102).contains($0) })
    else {
      return nil
    }
    description = text
  }

  private init(description: String) { self.description = description }
}
