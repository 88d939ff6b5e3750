// What an envelope holds, and what it refuses to hold.

import Sessions
import Testing

@Suite("the envelope")
struct EnvelopeTests {
  private func text(_ envelope: Envelope) -> String { String(decoding: envelope.bytes, as: UTF8.self) }

  @Test("two counted parts, every value on its line")
  func layout() throws {
    let envelope = try Envelope(
      repository: "https://example.org/a.git", workUnit: "unit 1", cloneToken: Array("t".utf8),
      credentials: [("A", Array("b\nc".utf8)), ("EMPTY", [])])
    #expect(text(envelope) == "+https://example.org/a.git\n+unit\\00401\n+t\n2\nA b\\0012c\nEMPTY \n")
  }

  @Test("what was not given is told from what is empty")
  func absent() throws {
    let envelope = try Envelope(repository: "git://h/r", workUnit: nil, cloneToken: [], credentials: [])
    #expect(text(envelope) == "+git://h/r\n-\n-\n0\n")
    let empty = try Envelope(repository: "git://h/r", workUnit: "", cloneToken: nil, credentials: [])
    #expect(text(empty) == "+git://h/r\n+\n-\n0\n")
  }

  @Test("only printable ASCII and newlines pass through the shell's read")
  func alphabet() throws {
    let envelope = try Envelope(
      repository: "git://h/r", workUnit: "ü", cloneToken: nil, credentials: [("A", Array(1...255))])
    #expect(envelope.bytes.allSatisfy { $0 == UInt8(ascii: "\n") || (0x20...0x7e).contains($0) })
  }

  @Test("what no environment variable can hold is refused without its value")
  func refused() {
    func error(
      _ repository: String = "https://h/r", _ workUnit: String? = nil, _ token: String? = nil,
      _ credentials: [(name: String, value: [UInt8])] = []
    ) -> EnvelopeError? {
      do throws(EnvelopeError) {
        _ = try Envelope(
          repository: repository, workUnit: workUnit, cloneToken: token.map { Array($0.utf8) },
          credentials: credentials)
        return nil
      } catch {
        return error
      }
    }
    let long = [UInt8](repeating: 0x61, count: 131_072)
    #expect(error("https://h/r", nil, "t", [("A", [1])]) == nil)
    #expect(error("https://h/\0") == .holdsNUL("the repository"))
    #expect(error("https://h/r", "a\0") == .holdsNUL("the work unit"))
    #expect(error("https://h/r", nil, "a\0") == .holdsNUL("the clone token"))
    #expect(error("https://h/r", nil, nil, [("A", [1, 0])]) == .holdsNUL("the credential A"))
    #expect(error("http://h/r", nil, "t") == .cloneTokenNeedsHTTPS)
    #expect(error("https://h/r", nil, "t\n") == .cloneTokenHoldsLineBreak)
    #expect(error("https://h/r", nil, nil, [("A", long)]) == .tooLong("the credential A"))
    #expect(error("https://h/r", nil, nil, [("A", long.dropLast(3))]) == nil)
    #expect(error("https://h/r", nil, nil, (0..<9).map { ("A\($0)", long.dropLast(4)) }) == .tooLarge)
    for name in ["", "1A", "A-B", "A B", "A\n", "É", "AGENTD_X"] {
      #expect(error("https://h/r", nil, nil, [(name, [])]) == .notAVariableName(name))
    }
  }
}

@Suite("the setup's report")
struct SetupReportTests {
  private let commit = String(repeating: "0123abcd", count: 5)

  @Test("a report is read line by line as it grows")
  func grows() {
    #expect(SetupReport(parsing: []).phase == .preparing)
    #expect(SetupReport(parsing: Array("clo".utf8)).phase == .preparing)
    #expect(
      SetupReport(parsing: Array("clone\ncommit 0123".utf8)) == SetupReport(parsing: Array("clone\n".utf8)))
    let whole = SetupReport(parsing: Array("clone\ncommit \(commit)\ncommand\n".utf8))
    #expect(whole.phase == .command)
    #expect(whole.commit == commit)
  }

  @Test("lines that are not ours say nothing")
  func foreign() {
    let report = SetupReport(parsing: Array("commit xyz\n\u{0}\n\ncommands\ncommit \n".utf8))
    #expect(report.phase == .preparing)
    #expect(report.commit == nil)
  }
}
