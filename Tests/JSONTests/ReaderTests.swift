// What is read as JSON: what another implementation reads, and nothing that is none.

import Foundation
import Testing

@testable import JSON

@Suite("JSON reader")
struct JSONReaderTests {
  private enum Key: String, CodingKey, CaseIterable { case first, second, third }

  private func value(_ text: String) throws -> JSONValue {
    try #require(JSONValue(parsing: Array(text.utf8)), "\(text.prefix(100))")
  }

  private func isRefused(_ bytes: some Sequence<UInt8>) -> Bool { JSONValue(parsing: Array(bytes)) == nil }

  /// The same document, as Foundation has it.
  private func isSame(_ value: JSONValue, _ expected: Any) -> Bool {
    switch expected {
    case is NSNull: return value.isNull
    case let text as String: return value.string == text
    case let list as [Any]:
      guard let elements = value.elements, elements.count == list.count else { return false }
      return zip(elements, list).allSatisfy(isSame)
    case let object as [String: Any]:
      guard value.isObject else { return false }
      return object.allSatisfy { key, expected in value.member(key).map { isSame($0, expected) } ?? false }
    case let number as NSNumber:
      if value.bool != nil { return value.bool == number.boolValue }
      return value.int == number.int64Value
    default: return false
    }
  }

  /// A document that is put together at random, nested as far as `depth` says.
  private func document(_ depth: Int, _ random: inout some RandomNumberGenerator) -> Any {
    switch Int.random(in: 0..<(depth > 0 ? 7 : 4), using: &random) {
    case 0: return NSNull()
    case 1: return Bool.random(using: &random)
    case 2: return Int64.random(in: .min ... .max, using: &random) >> Int64.random(in: 0..<64, using: &random)
    case 3: return text(&random)
    case 4, 5:
      let names = (0..<Int.random(in: 0..<6, using: &random)).map { _ in text(&random) }
      return Dictionary(
        names.map { ($0, document(depth - 1, &random)) }, uniquingKeysWith: { first, _ in first })
    default: return (0..<Int.random(in: 0..<6, using: &random)).map { _ in document(depth - 1, &random) }
    }
  }

  private func text(_ random: inout some RandomNumberGenerator) -> String {
    let scalars = (0..<Int.random(in: 0..<20, using: &random)).compactMap { _ in
      let limits: [UInt32] = [0x20, 0x80, 0x800, 0x1_0000, 0x11_0000]
      return Unicode.Scalar(
        UInt32.random(in: 0..<(limits.randomElement(using: &random) ?? 1), using: &random))
    }
    return String(String.UnicodeScalarView(scalars))
  }

  @Test("a document is what Foundation reads from it, whatever is in it, in one line or in many")
  func documents() throws {
    var random = SystemRandomNumberGenerator()
    for _ in 0..<2000 {
      let expected = document(4, &random)
      for options: JSONSerialization.WritingOptions in [
        [.fragmentsAllowed], [.fragmentsAllowed, .prettyPrinted],
      ] {
        let data = try JSONSerialization.data(withJSONObject: expected, options: options)
        let value = try #require(JSONValue(parsing: Array(data)))
        #expect(isSame(value, expected), "\(String(decoding: data, as: UTF8.self))")
      }
    }
  }

  @Test("what is cut off anywhere, or has something behind it, is no document")
  func incomplete() throws {
    let text = Array(#"{"a":[1,-2,{"b":"\u00e9\"x"}],"c":true,"d":null}"#.utf8)
    #expect(!isRefused(text))
    for length in 0..<text.count { #expect(isRefused(text.prefix(length))) }
    for tail in ["x", "{}", ",", "\u{0}", "\u{0}{}"] { #expect(isRefused(text + Array(tail.utf8))) }
    #expect(!isRefused(text + Array(" \t\r\n".utf8)))
  }

  @Test(
    "what is not JSON is refused",
    arguments: [
      "", " ", "{", "nul", "True", "'a'", "[1,]", "{\"a\":1,}", "{a:1}", "{\"a\" 1}", "{1:2}", "01", "+1",
      "1.", ".5",
      "1e", "0x1", "NaN", "Infinity", "\"a", "\"\n\"", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"", "\"\\udc00\"",
      "\"a\\udfffb\"", "{\"\\udc00\":1}",
      "\"\\ud800\\u0041\"",
      "[1 2]", "[\"\u{0}\"]", "// c\n1", "\u{FEFF}",
    ])
  func refused(_ text: String) { #expect(isRefused(text.utf8)) }

  @Test("bytes that are not UTF-8 are refused wherever they are")
  func invalidUTF8() {
    for bad: [UInt8] in [
      [0xFF], [0x80], [0xC0, 0xAF], [0xE0, 0x80, 0x80], [0xED, 0xA0, 0x80], [0xF5, 0x80, 0x80, 0x80],
    ] {
      #expect(isRefused(Array("[\"".utf8) + bad + Array("\"]".utf8)))
      #expect(isRefused(Array("{\"".utf8) + bad + Array("\":1}".utf8)))
      #expect(isRefused(bad + Array("1".utf8)))
      #expect(isRefused(Array("1".utf8) + bad))
    }
  }

  @Test("a character that the end cuts off is refused, and nothing behind the end is touched")
  func cutOff() {
    for lead: UInt8 in [0xC3, 0xE0, 0xE2, 0xED, 0xF0, 0xF1, 0xF4] {
      for length in 0..<64 {
        let filling = [UInt8](repeating: UInt8(ascii: "x"), count: length)
        // Behind an escape the bytes of a string move, so what is taken is put down elsewhere.
        for begin in ["\"", "\"\\n", "{\"", "{\"\\n", "[\"\\u00e9\\n"] {
          for follows in [[], [0x80], [0x80, 0x80], [UInt8(ascii: "\"")]] as [[UInt8]] {
            #expect(isRefused(Array(begin.utf8) + filling + [lead] + follows))
          }
        }
      }
    }
  }

  @Test("numbers are read in full, or not at all")
  func numbers() throws {
    #expect(try value("-9223372036854775808").int == .min)
    #expect(try value("9223372036854775807").int == .max)
    #expect(try value("9223372036854775808").int == nil)
    #expect(try value("9223372036854775808").uint == 9_223_372_036_854_775_808)
    #expect(try value("18446744073709551615").uint == .max)
    for text in ["18446744073709551616", "1.0", "1e3", "1E0", "-1"] { #expect(try value(text).uint == nil) }
    for text in ["-9223372036854775809", "1.5", "1e0", "\"1\"", "true", "null", "[1]"] {
      #expect(try value(text).int == nil)
    }
    #expect(try Int32(from: value("2147483647")) == .max)
    #expect(throws: JSONMismatch.self) { try Int32(from: value("2147483648")) }
    #expect(throws: JSONMismatch.self) { try UInt64(from: value("-1")) }
    #expect(try [Int](from: value("[]")) == [])
    #expect(try [Int](from: value("[1,2]")) == [1, 2])
    #expect(throws: JSONMismatch.self) { try [Int](from: value("[1,\"2\"]")) }
    #expect(throws: JSONMismatch.self) { try [Int](from: value("{}")) }
  }

  @Test("a member is found by its whole name, and the first of those that share one")
  func members() throws {
    let json = try value(#"{"":0,"first":1,"firs":2,"first\u0000":3,"first":4,"é":{"second":5},"\u0065":6}"#)
    #expect(try json.read(Key.first) == 1)
    #expect(json.member("firs")?.int == 2)
    #expect(json.member("first\u{0}")?.int == 3)
    #expect(json.member("")?.int == 0)
    #expect(json.member("e")?.int == 6)
    #expect(try json.member("é")?.read(Key.second) == 5)
    #expect(json.member("second") == nil)
    #expect(try value("[1]").member("first") == nil)
    #expect(try value("{}").member("first") == nil)
  }

  @Test("a member that may be missing may be null, and is nothing else than what was asked for")
  func absence() throws {
    let json = try value(#"{"first":null,"second":"x"}"#)
    let (null, missing): (String?, String?) = (
      try json.readIfPresent(Key.first), try json.readIfPresent(Key.third)
    )
    #expect(null == nil && missing == nil)
    #expect(try json.readIfPresent(Key.second) == "x")
    #expect(throws: JSONMismatch.self) { let _: Bool? = try json.readIfPresent(Key.second) }
    #expect(throws: JSONMismatch.self) { let _: String = try json.read(Key.first) }
    #expect(throws: JSONMismatch.self) { let _: String = try json.read(Key.third) }
  }

  @Test("a case is the one that is there, with an object")
  func cases() throws {
    let (key, content) = try value(#"{"other":1,"second":{"first":true}}"#).readCase(of: Key.self)
    #expect(key == .second)
    #expect(try content.read(Key.first) == true)
    for text in [#"{"first":{},"second":{}}"#, #"{"first":1}"#, #"{"other":{}}"#, "{}", #"["first"]"#] {
      #expect(throws: JSONMismatch.self) { _ = try value(text).readCase(of: Key.self) }
    }
  }

  @Test("what is nested a million deep is read, and nothing recurses")
  func depth() throws {
    let depth = 1_000_000
    var json = try value(String(repeating: "[", count: depth) + String(repeating: "]", count: depth))
    for _ in 1..<depth { json = try #require(json.elements?.first) }
    #expect(json.elements?.isEmpty == true)
  }

  @Test("a value keeps its document")
  func lifetime() throws {
    let long = String(repeating: "x", count: 100_000)
    var member = try value("{\"first\":[\"\(long)\"]}").member("first")?.elements?.first
    for _ in 0..<10 { _ = try value("[\"\(String(repeating: "y", count: 100_000))\"]") }
    #expect(member?.string == long)
    member = nil
  }
}
