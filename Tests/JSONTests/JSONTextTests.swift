// Values as JSON: what Foundation reads back is what was written.

import FoundationEssentials
import JSON
import Testing

@Suite("JSON on one line")
struct JSONTextTests {
  struct Everything: Codable, Equatable {
    enum Kind: Codable, Equatable {
      case plain
      case numbered(code: Int32?)
      case unlabelled(String)
    }

    struct Inner: Codable, Equatable {
      var name: String
      var flags: [Bool] = []
      var inner: [Inner] = []
    }

    struct Empty: Codable, Equatable {}

    var text = ""
    var absent: String?
    var number: Int64 = .min
    var large: UInt64 = .max
    var flag = true
    var kinds: [Kind] = [.plain, .numbered(code: nil), .numbered(code: -7), .unlabelled("x")]
    var inner = Inner(name: "a", flags: [true, false], inner: [Inner(name: "b"), Inner(name: "c")])
    var empty = Empty()
    var table: [String: Int] = ["one": 1]
    var last = "after everything that is nested"
  }

  @Test("all that a value may hold is read back as it was")
  func everything() throws {
    let value = Everything(text: "plain")
    let bytes = try JSONText.encode(value)
    #expect(try JSONDecoder().decode(Everything.self, from: Data(bytes)) == value)
    #expect(!bytes.contains(UInt8(ascii: "\n")))
  }

  @Test("every character of a string comes back, and none below the blank is written as it is")
  func characters() throws {
    let scalars = (0..<0x300).compactMap { Unicode.Scalar($0) } + ["\u{2028}", "\u{ffff}", "😀"]
    let text = String(String.UnicodeScalarView(scalars))
    let bytes = try JSONText.encode(["key \"\\\n": text])
    #expect(bytes.allSatisfy { $0 >= 0x20 })
    #expect(try JSONDecoder().decode([String: String].self, from: Data(bytes)) == ["key \"\\\n": text])
  }

  @Test("the text is the shortest: keys in the order of the value, no blanks")
  func form() throws {
    let inner = Everything.Inner(name: "a/b", flags: [true], inner: [])
    let text = String(decoding: try JSONText.encode(inner), as: UTF8.self)
    #expect(text == #"{"name":"a/b","flags":[true],"inner":[]}"#)
  }

  @Test("a number that is no integer is refused")
  func fractions() {
    #expect(throws: EncodingError.self) { try JSONText.encode([0.5]) }
    #expect(throws: EncodingError.self) { try JSONText.encode(["key": Float(0.5)]) }
  }
}
