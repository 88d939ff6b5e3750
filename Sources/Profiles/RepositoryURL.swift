// The address of a repository: an http, https or git URL that carries no secret and nothing that git obeys.

/// The URL of a repository to clone: `https://`, `http://` or `git://` with a host and a path, and without
/// user info, query, fragment, blanks and control characters.
public struct RepositoryURL: Sendable, Equatable, CustomStringConvertible {
  /// The longest URL, in bytes.
  public static let byteLimit = 2048

  /// The URL as it was written.
  public let text: String

  /// Whether the connection is encrypted, so that a clone token may be sent over it.
  public var isHTTPS: Bool { text.utf8.starts(with: "https://".utf8) }

  /// The URL as it was written.
  public var description: String { text }

  /// Checks a URL.
  ///
  /// - Throws: `InvalidValue` with a message that never repeats the URL, since it may hold a password.
  public init(_ text: String) throws(InvalidValue) {
    guard text.utf8.count <= Self.byteLimit else {
      throw InvalidValue(message: "is longer than \(Self.byteLimit) bytes; use a shorter URL")
    }
    // Git knows schemes in lower case only. Starting with one, the text cannot be taken for an option.
    guard let scheme = ["https://", "http://", "git://"].first(where: { text.utf8.starts(with: $0.utf8) })
    else {
      throw InvalidValue(message: "must start with https://, http:// or git://, in lower case")
    }
    let rest = Array(text.utf8.dropFirst(scheme.utf8.count))
    let authority = rest.prefix { !"/?#\\".utf8.contains($0) }
    guard !authority.contains(UInt8(ascii: "@")) else {
      throw InvalidValue(
        message:
          "must not hold a user name or a password; take them out and name the variable that holds the "
          + "token in the profile's repo_token_source")
    }
    guard !text.unicodeScalars.contains(where: { $0.properties.isWhitespace || isControl($0) }) else {
      throw InvalidValue(
        message: "must not hold a blank or a control character; write them as %20 and the like")
    }
    guard !rest.contains(UInt8(ascii: "?")), !rest.contains(UInt8(ascii: "#")) else {
      throw InvalidValue(message: "must not hold a query or a fragment; end it before the ? or #")
    }
    guard !rest.contains(UInt8(ascii: "\\")), !Self.holdsEncodedControl(rest) else {
      throw InvalidValue(message: "must not hold a backslash or an encoded control character such as %0a")
    }
    guard Self.isHost(authority) else {
      throw InvalidValue(message: "must name a host after \(scheme), with a port from 1 to 65535 or none")
    }
    guard rest.dropFirst(authority.count).contains(where: { $0 != UInt8(ascii: "/") }) else {
      throw InvalidValue(
        message: "must name a repository after the host, as in \(scheme)example.com/group/name.git")
    }
    self.text = text
  }

  /// Whether an encoded control character hides in the URL; git decodes them before it uses the parts
  /// (CVE-2020-5260).
  private static func holdsEncodedControl(_ bytes: [UInt8]) -> Bool {
    for index in bytes.indices.dropLast(2) where bytes[index] == UInt8(ascii: "%") {
      let digits = String(decoding: bytes[(index + 1)...(index + 2)], as: UTF8.self)
      if let value = UInt8(digits, radix: 16), value < 0x20 || value == 0x7f { return true }
    }
    return false
  }

  /// Whether the bytes are a host name or a bracketed IPv6 address, with or without a port. A leading
  /// hyphen is refused because a helper of git could take such a host for an option (CVE-2017-1000117).
  private static func isHost(_ authority: ArraySlice<UInt8>) -> Bool {
    let isBracketed = authority.first == UInt8(ascii: "[")
    let end = isBracketed ? UInt8(ascii: "]") : UInt8(ascii: ":")
    guard let split = authority.firstIndex(of: end) ?? (isBracketed ? nil : authority.endIndex) else {
      return false
    }
    let host = isBracketed ? authority[..<split].dropFirst() : authority[..<split]
    let port = isBracketed ? authority[(split + 1)...] : authority[split...]
    guard let first = host.first, first != UInt8(ascii: "-"), isPort(port) else { return false }
    return host.allSatisfy { byte in
      if isBracketed {
        return isDigit(byte) || (isLetter(byte) && byte | 0x20 <= UInt8(ascii: "f")) || byte == 0x3a
          || byte == 0x2e
      }
      return isLetter(byte) || isDigit(byte) || byte >= 0x80 || ".-_".utf8.contains(byte)
    }
  }

  /// Whether the bytes are nothing or a colon and a port.
  private static func isPort(_ bytes: ArraySlice<UInt8>) -> Bool {
    guard bytes.first == UInt8(ascii: ":") else { return bytes.isEmpty }
    let digits = bytes.dropFirst()
    guard digits.allSatisfy(isDigit), let port = Int(String(decoding: digits, as: UTF8.self)) else {
      return false
    }
    return (1...65_535).contains(port)
  }
}
