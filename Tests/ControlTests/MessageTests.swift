// Messages: what goes into a frame comes out of it, and what is no frame of this build is told in one sentence.

import Foundation
import Testing

@testable import Control

@Suite("Message")
struct MessageTests {
  private func complaint(_ line: some Sequence<UInt8>) -> String? {
    do throws(FrameError) {
      _ = try decodeLine(Array(line), as: Request.self, from: "client")
      return nil
    } catch {
      return error.sentence
    }
  }

  private func frame(
    protocol number: String = "\(Build.protocolVersion)", build: String = Build.version, body: String
  ) -> String {
    "{\"protocol\":\(number),\"build\":\"\(build)\",\"body\":\(body)}"
  }

  @Test(
    "a request survives its frame",
    arguments: [
      Request.list, .ping, .stop(session: "0123456789abcdef"), .follow(session: "../\u{0}"),
      .describe(session: "\u{1b}"),
      .run(
        invocation: InvocationRequest(
          profile: "p\n\"\u{0}\\", repository: "https://example.org/ü.git", workUnit: "\u{2028}",
          timeoutMilliseconds: .max, detach: true)),
      .run(
        invocation: InvocationRequest(
          profile: "", repository: nil, workUnit: nil, timeoutMilliseconds: nil, detach: false,
          scheduledFor: "2026-11-23T04:05:06.789Z")),
    ])
  func requests(_ request: Request) throws {
    let line = encodeLine(request)
    // One line: the only newline is its end.
    #expect(line.firstIndex(of: UInt8(ascii: "\n")) == line.count - 1)
    #expect(try decodeLine(Array(line.dropLast()), as: Request.self, from: "client") == request)
    try expectSorted(line)
  }

  /// Another implementation would write it in the same way, but for the case of hexadecimal digits.
  private func expectSorted(_ line: [UInt8]) throws {
    let sorted = try JSONSerialization.data(
      withJSONObject: try JSONSerialization.jsonObject(with: Data(line)),
      options: [.sortedKeys, .withoutEscapingSlashes])
    #expect(
      String(decoding: line, as: UTF8.self).lowercased()
        == String(decoding: sorted, as: UTF8.self).lowercased() + "\n")
  }

  @Test(
    "a reply survives its frame",
    arguments: [
      Reply.done, .described(session: DescribedSession(record: "/r", metadata: "{\n\"a\": 1}\n")),
      .refused(reason: "No.\nNever."), .busy(reason: ""), .sessions(sessions: []),
      .accepted(session: AcceptedSession(id: "0123456789abcdef", record: "/r", consoleLog: "/r/c")),
      .accepted(session: AcceptedSession(id: "0", record: "/r", consoleLog: "/r/c", queuedBehind: 0)),
      .finished(
        session: FinishedSession(
          id: "0123456789abcdef", profile: "p", outcome: "success", isSuccess: true, exitCode: 0, signal: nil,
          durationMilliseconds: 1, record: "/r", reason: nil, problems: ["a", "b"])),
      .finished(
        session: FinishedSession(
          id: "", profile: "p", outcome: "terminated_by_signal", isSuccess: false, exitCode: 137, signal: 9,
          durationMilliseconds: .max, record: "/r", reason: "\u{1}", problems: [])),
      .sessions(sessions: [
        LiveSession(
          id: "0", profile: "p", phase: "command", ageMilliseconds: .max, repository: "r", isScheduled: false),
        LiveSession(
          id: "1", profile: "p", phase: "queued", ageMilliseconds: 0, repository: "r", isScheduled: true,
          queuePosition: 1),
      ]),
    ])
  func replies(_ reply: Reply) throws {
    let line = encodeLine(reply)
    #expect(line.firstIndex(of: UInt8(ascii: "\n")) == line.count - 1)
    #expect(try decodeLine(Array(line.dropLast()), as: Reply.self, from: "daemon") == reply)
    try expectSorted(line)
  }

  @Test("a message without content that is written in another way is the same message")
  func otherSpelling() throws {
    for (body, request) in [("ping", Request.ping), ("list", .list)] {
      let line = Array(encodeLine(request).dropLast())
      let spaced = Array(frame(body: "{ \"\(body)\" : {} }").utf8)
      #expect(spaced != line)
      #expect(try decodeLine(spaced, as: Request.self, from: "client") == request)
    }
  }

  @Test("what merely begins like a message without content, or ends too early, is not it")
  func almostConstant() {
    let line = Array(encodeLine(Request.ping).dropLast())
    for strange in [Array(line.dropLast()), line + Array("}".utf8), line + line, Array(line.dropFirst())] {
      #expect(complaint(strange) == "The client sent something that is not a message of agentd.")
    }
    #expect(throws: FrameError.self) { try decodeLine(line, as: Reply.self, from: "daemon") }
  }

  @Test("messages without content are written once, as every message is")
  func constants() {
    #expect(Request.constants.map(\.message) == [.ping, .list])
    #expect(
      String(decoding: Request.ping.line, as: UTF8.self)
        == "{\"body\":{\"ping\":{}},\"build\":\"\(Build.version)\",\"protocol\":\(Build.protocolVersion)}\n")
  }

  @Test(
    "another version and another protocol get one sentence with both builds in it",
    arguments: [("\(Build.protocolVersion)", "9.9.9"), ("1", Build.version), ("-7", Build.version)])
  func otherBuild(number: String, build: String) {
    // Its body may be anything: it is not looked at.
    let sentence = complaint(frame(protocol: number, build: build, body: "{\"dance\":[]}").utf8)
    #expect(
      sentence == "The client is another build of agentd (\(build), protocol \(number); this one is "
        + "\(Build.version), protocol \(Build.protocolVersion)): restart the daemon after replacing the binary."
    )
  }

  @Test(
    "another build's name is repeated only as far as it is short and printable",
    arguments: [
      (String(repeating: "9", count: 1000), String(repeating: "9", count: 40)),
      ("9\\u001b[2J", "?"),
      // One character to Swift, and as long as one likes.
      (
        String(repeating: "9", count: 40) + String(repeating: "\u{301}", count: 1000),
        String(repeating: "9", count: 40)
      ),
    ])
  func otherBuildName(build: String, shown: String) throws {
    let sentence = try #require(complaint(frame(build: build, body: "{}").utf8))
    #expect(
      sentence.hasPrefix(
        "The client is another build of agentd (\(shown), protocol \(Build.protocolVersion);"))
    #expect(sentence.utf8.count < 300)
  }

  @Test(
    "what is no frame at all gets one sentence",
    arguments: [
      "", "hello", "{}", "[]", "null", "{\"protocol\":1}", "{\"protocol\":\"1\",\"build\":\"0.1.0\"}",
      "{\"protocol\":99999999999999999999,\"build\":\"0.1.0\"}", "GET / HTTP/1.1\r",
    ])
  func noFrame(_ text: String) {
    #expect(complaint(text.utf8) == "The client sent something that is not a message of agentd.")
  }

  @Test(
    "a frame of this build with an unknown body gets one sentence",
    arguments: [
      "{}", "null", "{\"dance\":{}}", "{\"stop\":{}}", "{\"stop\":{\"session\":7}}", "[{\"list\":{}}]",
    ])
  func unknownBody(_ body: String) {
    #expect(
      complaint(frame(body: body).utf8)
        == "The client sent a message that this build of agentd does not know."
    )
  }

  @Test("bytes that are not UTF-8 are no frame")
  func invalidUTF8() {
    var line = Array(frame(body: "{\"stop\":{\"session\":\"x\"}}").utf8)
    line[line.lastIndex(of: UInt8(ascii: "x")) ?? 0] = 0xff
    #expect(complaint(line) != nil)
  }

  @Test("JSON nested thousands deep is refused, not followed")
  func deepNesting() {
    let depth = 30_000
    let nested = String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
    #expect(complaint(nested.utf8) != nil)
    #expect(complaint(frame(body: nested).utf8) != nil)
    let objects = String(repeating: "{\"a\":", count: 10_000) + "1" + String(repeating: "}", count: 10_000)
    #expect(complaint(frame(body: objects).utf8) != nil)
  }
}
