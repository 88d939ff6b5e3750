// console.log: podman's k8s-file format, however its bytes arrive.

import Testing

@testable import Engine

@Suite("ConsoleLog")
struct ConsoleLogTests {
  private let time = "2026-11-23T04:05:06.789012345+00:00"

  private func decode(_ texts: String...) -> [ConsoleLog.Piece] {
    var log = ConsoleLog()
    return texts.flatMap { log.decode(Array($0.utf8)) }
  }

  private func piece(_ source: ConsoleLog.Source, _ text: String) -> ConsoleLog.Piece {
    ConsoleLog.Piece(source: source, bytes: Array(text.utf8))
  }

  @Test("whole lines get their newline back, parts do not, and neighbours of one stream are one piece")
  func lines() {
    let pieces = decode(
      "\(time) stdout F one\n\(time) stdout P tw\n\(time) stdout F o\n\(time) stderr F  three \n"
        + "\(time) stdout F \n")
    #expect(pieces == [piece(.output, "one\ntwo\n"), piece(.error, " three \n"), piece(.output, "\n")])
  }

  @Test("wherever the bytes are cut, the same comes out")
  func cuts() {
    let text = "\(time) stdout F a b  c\n\(time) stderr P ü\n\(time) stderr F \u{1b}[0m\n"
    let whole = decode(text)
    let bytes = Array(text.utf8)
    for cut in 0...bytes.count {
      var log = ConsoleLog()
      let parts = log.decode(bytes[..<cut]) + log.decode(bytes[cut...])
      for source in [ConsoleLog.Source.output, .error] {
        #expect(
          parts.filter { $0.source == source }.flatMap(\.bytes)
            == whole.filter { $0.source == source }.flatMap(\.bytes))
      }
    }
  }

  @Test("the bytes of a program pass as they are")
  func bytes() {
    var log = ConsoleLog()
    let content = (0...255).map { UInt8($0) }.filter { $0 != 10 }
    #expect(log.decode(Array("\(time) stdout P ".utf8) + content + [10]).first?.bytes == content)
  }

  @Test(
    "what is not in the format is left out", arguments: ["", "hello", "t stdout F", "t stdlog F x", "t  F x"])
  func strangeLines(_ line: String) {
    #expect(decode("\(line)\n\(time) stdout F x\n") == [piece(.output, "x\n")])
  }

  @Test("a line without end is not held for ever, and what comes after it is read")
  func endlessLine() {
    var log = ConsoleLog()
    let chunk = [UInt8](repeating: UInt8(ascii: "x"), count: 1 << 16)
    for _ in 0..<40 { #expect(log.decode(chunk) == []) }
    #expect(log.decode(Array("\n\(time) stdout F x\n".utf8)) == [piece(.output, "x\n")])
  }
}
