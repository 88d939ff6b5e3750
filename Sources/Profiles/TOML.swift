// TOML as plain values: the one file that knows the TOML library.

import Glibc
import TOMLKit

/// A value of a TOML document.
indirect enum TOML {
  case string(String)
  case boolean(Bool)
  case integer(Int)
  case array([TOML])
  case table([String: TOML])
  /// A value of a type that no field has, by that type's name.
  case other(String)

  /// Why a text is not TOML.
  struct SyntaxError: Error {
    let line: Int?
    let message: String
  }

  /// The type in words, with an article.
  var type: String {
    switch self {
    case .string: "a string"
    case .boolean: "a boolean"
    case .integer: "an integer"
    case .array: "an array"
    case .table: "a table"
    case .other(let name): name
    }
  }

  /// How deep a document is looked into. The fields end at depth 6 (profiles, element, mounts, element,
  /// field, value); what lies deeper belongs to a value that is wrong already, and reads as empty.
  private static let depth = 8

  /// Reads a document.
  static func parse(_ text: String) throws(SyntaxError) -> [String: TOML] {
    // The library is written against C strings, so a NUL would end the document or a value without a word.
    if let offset = text.utf8.firstIndex(of: 0) {
      let line = 1 + text.utf8[..<offset].count(where: { $0 == UInt8(ascii: "\n") })
      throw SyntaxError(line: line, message: "holds a NUL character; take it out")
    }
    let document: TOMLTable
    do {
      document = try TOMLTable(string: text)
    } catch let error as TOMLParseError {
      let words = error.description.printable(limit: Limits.syntaxErrorCharacters)
      throw SyntaxError(line: error.source.begin.line, message: "is not TOML, correct this line: \(words)")
    } catch {
      throw SyntaxError(line: nil, message: "is not TOML")
    }
    guard !holdsEscapedNUL(document, text) else {
      throw SyntaxError(
        line: nil, message: "holds a string with an escaped NUL character (\\u0000); take it out")
    }
    return table(document, depth: depth)
  }

  /// Whether a string or a key of the document holds a NUL. A text without the escape cannot; for one with
  /// it, the document is written out again, where a NUL is an escape that no backslash stands before.
  private static func holdsEscapedNUL(_ document: TOMLTable, _ text: String) -> Bool {
    // The text holds no NUL itself. The library's own search takes a third of a second for the largest file.
    let holdsEscape = text.withCString { strstr($0, "\\u0000") != nil || strstr($0, "\\U00000000") != nil }
    guard holdsEscape else { return false }
    var backslashes = 0
    let written = Array(document.convert(to: .toml, options: []).utf8)
    for (index, byte) in written.enumerated() {
      if byte == UInt8(ascii: "\\") {
        backslashes += 1
      } else {
        if backslashes % 2 == 1, written[index...].starts(with: "u0000".utf8) { return true }
        backslashes = 0
      }
    }
    return false
  }

  private static func table(_ table: TOMLTable, depth: Int) -> [String: TOML] {
    guard depth > 0 else { return [:] }
    var values: [String: TOML] = [:]
    for key in table.keys {
      guard let node = table[key] else { continue }
      values[key] = value(node, depth: depth - 1)
    }
    return values
  }

  private static func value(_ node: any TOMLValueConvertible, depth: Int) -> TOML {
    switch node.type {
    case .string: .string(node.string ?? "")
    case .bool: .boolean(node.bool ?? false)
    case .table: .table(node.table.map { table($0, depth: depth) } ?? [:])
    case .array: .array(depth > 0 ? (node.array?.map { value($0, depth: depth - 1) } ?? []) : [])
    case .int: .integer(node.int ?? 0)
    case .double: .other("a floating-point number")
    case .date: .other("a date")
    case .time: .other("a time")
    case .dateTime: .other("a date-time")
    }
  }
}
