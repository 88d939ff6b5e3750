// What is written as JSON: read by another implementation it is what it was, whatever is in it.

import Foundation
import TestSupport
import Testing
import Time

@testable import JSON

@Suite("JSON writer")
struct JSONWriterTests {
  private enum Key: String, CodingKey {
    case first, second
    case third = "the \"third\"\n"
  }

  private func text(_ value: some JSONWritable, _ form: JSONWriter.Form = .compact) -> String {
    var json = JSONWriter(form)
    value.write(to: &json)
    return json.text()
  }

  private func text(_ form: JSONWriter.Form = .compact, _ write: (inout JSONWriter) -> Void) -> String {
    var json = JSONWriter(form)
    write(&json)
    return json.text()
  }

  private func reread<Value: Decodable>(_ text: String, as type: Value.Type) throws -> Value {
    try JSONDecoder().decode(type, from: Data(text.utf8))
  }

  @Test(
    "quotes, backslashes and control characters are escaped, and nothing else is",
    arguments: [
      ("", #""""#), ("/", #""/""#), ("\"\\", #""\"\\""#), ("\u{8}\t\n\u{c}\r", #""\b\t\n\f\r""#),
      ("\u{0}\u{1}\u{b}\u{1b}\u{1f}", #""\u0000\u0001\u000B\u001B\u001F""#),
      ("\u{7f}\u{80}\u{2028}é漢🏳️‍🌈", "\"\u{7f}\u{80}\u{2028}é漢🏳️‍🌈\""),
    ])
  func escapes(_ value: String, _ expected: String) throws {
    #expect(text(value) == expected)
    #expect(try reread(expected, as: String.self) == value)
  }

  @Test("every scalar below U+0100, alone and in the middle of a long string, is read back")
  func scalars() throws {
    let long = String(repeating: "x", count: 40)
    for scalar in (0...255).compactMap({ Unicode.Scalar($0 as Int) }) {
      for value in ["\(scalar)", "\(long)\(scalar)\(long)"] {
        #expect(try reread(text(value), as: String.self) == value)
      }
    }
  }

  @Test("what has to be escaped is found wherever in a string it is, beside whatever stands for itself")
  func places() throws {
    for special in ["\"", "\\", "\n", "\u{0}", "\u{1f}"] {
      for filling in [" ", "!", "#", "[", "]", "\u{7f}", "\u{80}", "é", "漢"] {
        for length in 0..<18 {
          for place in 0...length {
            let before = String(repeating: filling, count: place)
            let value = before + special + String(repeating: filling, count: length - place) + special
            #expect(try reread(text(value), as: String.self) == value)
          }
        }
      }
    }
    for filling in [" ", "!", "#", "[", "]", "\u{7f}", "é"] {
      let value = String(repeating: filling, count: 33)
      #expect(text(value) == "\"\(value)\"")
    }
  }

  @Test("a moment is the string of its RFC 3339, from one end of its range to the other")
  func moments() {
    let moments: [Int64] = [.min, -1, 0, 1, 999_999, 1_000_000, 1_795_000_000_123_456_789, .max]
    for moment in moments.map({ Timestamp(nanosecondsSinceEpoch: $0) }) {
      #expect(text(moment) == "\"\(moment.rfc3339)\"")
    }
  }

  @Test("the ends of the integers' ranges are written in full")
  func numbers() {
    #expect(text(Int64.min) == "-9223372036854775808")
    #expect(text(Int64.max) == "9223372036854775807")
    #expect(text(UInt64.max) == "18446744073709551615")
    #expect(text(Int32.min) == "-2147483648")
    #expect(text([0, -1, 10]) == "[0,-1,10]")
    #expect(text([true, false]) == "[true,false]")
  }

  @Test("a value that is not there leaves no key, unless null is asked for")
  func absence() {
    let none: String? = nil
    let some: String? = "x"
    #expect(
      text {
        $0.object {
          $0.field(Key.first, none)
          $0.field(Key.second, some)
        }
      } == #"{"second":"x"}"#)
    #expect(
      text {
        $0.object {
          $0.field(Key.first, orNull: none)
          $0.field(Key.second, orNull: some)
        }
      } == #"{"first":null,"second":"x"}"#)
  }

  @Test("keys are escaped as strings are")
  func keys() {
    #expect(text { $0.object { $0.field(Key.third, 3) } } == #"{"the \"third\"\n":3}"#)
  }

  @Test("objects and arrays may be empty, and nested deeper than there is room at first")
  func nesting() throws {
    #expect(text { $0.object { _ in } } == "{}")
    #expect(text([String]()) == "[]")
    #expect(text([[Int]](), .pretty) == "[]")
    #expect(text { $0.object { $0.field(Key.first) { _ in } } } == #"{"first":{}}"#)
    func nest(_ depth: Int, _ json: inout JSONWriter) {
      json.array { if depth > 1 { nest(depth - 1, &$0) } }
    }
    #expect(
      text { nest(500, &$0) } == String(repeating: "[", count: 500) + String(repeating: "]", count: 500))
  }

  @Test("a dictionary is written in the order of its keys")
  func dictionary() {
    #expect(text(["b": 1, "": 2, "a_b": 3, "ab": 4, "B": 5]) == #"{"":2,"B":5,"a_b":3,"ab":4,"b":1}"#)
  }

  @Test("a pretty document has a line for each value")
  func pretty() {
    let written = text(.pretty) {
      $0.object {
        $0.field(Key.first, [1, 2])
        $0.field(Key.second) { $0.field(Key.first, "x") }
      }
    }
    #expect(
      written == """
        {
          "first": [
            1,
            2
          ],
          "second": {
            "first": "x"
          }
        }
        """)
  }

  @Test("documents follow one another, a line each", arguments: [JSONWriter.Form.compact, .pretty])
  func lines(_ form: JSONWriter.Form) {
    var json = JSONWriter(form)
    for number in 1...3 {
      [number].write(to: &json)
      json.endLine()
    }
    let lines = form == .compact ? "[1]\n[2]\n[3]\n" : "[\n  1\n]\n[\n  2\n]\n[\n  3\n]\n"
    #expect(String(decoding: json.bytes(), as: UTF8.self) == lines)
    #expect([1].jsonLine() == Array("[1]\n".utf8))
  }

  @Test("nothing written is nothing")
  func empty() {
    #expect(JSONWriter().bytes() == [])
    #expect(JSONWriter(.pretty).text() == "")
  }

  @Test("a document of megabytes is whole")
  func large() throws {
    let value = (0..<20).map { String(repeating: "\u{1}\($0)é", count: 1 << 15) }
    #expect(try reread(text(value), as: [String].self) == value)
  }

  @Test("whatever text it is, it is read back", arguments: 0..<20 as Range<UInt64>)
  func random(seed: UInt64) throws {
    var generator = SplitMix64(seed: seed)
    var values: [String: [String]] = [:]
    for _ in 0..<50 {
      let list = (0..<Int.random(in: 0...4, using: &generator)).map { _ in randomText(&generator) }
      values[randomText(&generator)] = list
    }
    for form in [JSONWriter.Form.compact, .pretty] {
      #expect(try reread(text(values, form), as: [String: [String]].self) == values)
    }
  }

  /// Every other scalar is one that has to be escaped, or is near one.
  private func randomText(_ generator: inout SplitMix64) -> String {
    var text = String.UnicodeScalarView()
    for _ in 0..<Int.random(in: 0...60, using: &generator) {
      let last: UInt32 = Bool.random(using: &generator) ? 0x7f : 0x10ffff
      let number = UInt32.random(in: 0...last, using: &generator)
      text.append(Unicode.Scalar(number) ?? "\u{d7ff}")
    }
    return String(text)
  }

  #if DEBUG
    @Test("a value in the place of a key ends a debug build", .exitTest)
    func outOfPlace() async {
      await #expect(processExitsWith: .signal(SIGABRT)) {
        var json = JSONWriter()
        json.object { $0.value(1 as Int64) }
      }
    }
  #endif
}
