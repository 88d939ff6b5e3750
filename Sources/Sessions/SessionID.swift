// The name of one session, unique among all of them.

/// 16 hex digits of the kernel's randomness.
public struct SessionID: Sendable, Hashable, CustomStringConvertible {
  private static let digits = 16

  /// 16 lower-case hex digits.
  public let description: String

  /// Draws a new one.
  public static func random() -> SessionID {
    // The standard library's generator is getrandom(2) on Linux.
    let number = UInt64.random(in: .min ... .max)
    return SessionID(
      description: String(unsafeUninitializedCapacity: digits) { text in
        for place in 0..<digits {
          let digit = UInt8(truncatingIfNeeded: number >> (4 * (digits - 1 - place))) & 0xf
          text[place] = digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10
        }
        return digits
      })
  }

  /// Reads one that was printed; nil for anything that is not 16 lower-case hex digits.
  public init?(_ text: some StringProtocol) {
    guard text.utf8.count == Self.digits,
      text.utf8.allSatisfy({ (48...57).contains($0) || (97...102).contains($0) })
    else { return nil }
    description = String(text)
  }

  private init(description: String) { self.description = description }
}
