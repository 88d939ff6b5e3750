// The log: which words set it, and what its lines look like.

import Glibc
import Logging
import TestSupport
import Testing

@testable import Daemon

@Suite("Log settings")
struct LogSettingsTests {
  private func settings(_ format: String? = nil, _ levels: String? = nil) throws(StartFailure) -> LogSettings
  {
    var environment: [String: String] = ["PATH": "/bin"]
    environment["AGENTD_LOG_FORMAT"] = format
    environment["AGENTD_LOG"] = levels
    return try LogSettings(environment: environment)
  }

  private func refusal(_ format: String?, _ levels: String?) -> String? {
    do throws(StartFailure) {
      _ = try settings(format, levels)
      return nil
    } catch {
      return error.description
    }
  }

  @Test("unset or empty, the log is JSON at the level info")
  func defaults() throws {
    for settings in [try settings(), try settings("", ""), try settings("json")] {
      #expect(!settings.isPretty)
      #expect(settings.level == .info)
      #expect(settings.levels.isEmpty)
    }
    #expect(try settings("pretty").isPretty)
  }

  @Test("a level is for everything, or for one label")
  func levels() throws {
    let settings = try settings(nil, "warning,runner=debug,agentd=TRACE")
    #expect(settings.level == .warning)
    #expect(settings.levels == ["runner": .debug, "agentd": .trace])
    #expect(try self.settings(nil, "Debug").level == .debug)
    #expect(try self.settings(nil, "runner=error").level == .info)
  }

  @Test("a word that is none is refused with the words that are")
  func refusals() {
    #expect(refusal("xml", nil) == "AGENTD_LOG_FORMAT is \"xml\": set it to json or pretty.")
    #expect(refusal("JSON", nil) != nil)
    for word in ["loud", "runner=loud", "runner=", "runner=info=debug", " info"] {
      #expect(
        refusal(nil, "info,\(word)")
          == "AGENTD_LOG holds \"\(word)\": use one of trace, debug, info, notice, warning, error, critical, "
          + "or LABEL=LEVEL, with commas between.")
    }
  }
}

@Suite("Log lines")
struct LogLineTests {
  private let time = "2026-11-23T04:05:06.789Z"

  /// A line without its newline.
  private func json(_ facts: Logger.Metadata, _ own: Logger.Metadata? = nil) -> String {
    let line = EventLog.json(
      time: time, level: .info, label: "agentd", name: "agentd.event", facts: EventLog.facts(facts, own))
    #expect(line.last == UInt8(ascii: "\n"))
    return String(decoding: line.dropLast(), as: UTF8.self)
  }

  private func pretty(_ facts: Logger.Metadata, _ own: Logger.Metadata? = nil) -> String {
    EventLog.pretty(
      time: time, level: .warning, name: "agentd.event", facts: EventLog.facts(facts, own))
  }

  @Test("a JSON line has time, level, label and event, and each fact beside them")
  func shape() {
    #expect(
      json(["profile": "p", "pid": .stringConvertible(7)])
        == #"{"event":"agentd.event","label":"agentd","level":"info","pid":7,"profile":"p","#
        + #""timestamp":"2026-11-23T04:05:06.789Z"}"#)
  }

  @Test("numbers are numbers, flags are flags, and text that looks like one stays text")
  func values() {
    let line = json([
      "a": .stringConvertible(Int32(-1)), "b": .stringConvertible(UInt64.max), "c": .stringConvertible(true),
      "d": "1", "e": "true", "f": .array(["x", "y"]),
    ])
    #expect(line.contains(#""a":-1,"b":9223372036854775807,"c":true,"d":"1","e":"true""#))
    #expect(line.contains(#""f":"["#))
  }

  @Test("nothing in a fact ends a JSON line or begins another field")
  func escaping() {
    let line = json(["reason": "a\nb\r\t\"},{\"event\":\"fake\\\u{0}\u{1b}[31m\u{7f}/ü"])
    #expect(
      line.contains(
        #""reason":"a\nb\r\t\"},{\"event\":\"fake\\\u0000\u001B[31m"#))
    #expect(!line.unicodeScalars.contains { $0.value < 0x20 })
    #expect(line.contains("/ü"))
  }

  @Test("no fact takes the place of what every line has")
  func reserved() {
    #expect(
      json(["timestamp": "x", "level": "x", "label": "x", "event": "x"])
        == #"{"event":"agentd.event","label":"agentd","level":"info","timestamp":"2026-11-23T04:05:06.789Z"}"#
    )
  }

  @Test("an event's own facts take the place of those that its logger adds to each")
  func ownFacts() {
    let common: Logger.Metadata = ["profile": "p", "session_id": "s"]
    let own: Logger.Metadata = ["profile": "q", "a": "x"]
    #expect(
      json(common, own).contains(
        #"{"a":"x","event":"agentd.event","label":"agentd","level":"info","profile":"q","session_id":"s","#))
    #expect(pretty(common, own).hasSuffix(" agentd.event a=x profile=q session_id=s"))
    #expect(json(common, [:]) == json(common))
    #expect(json([:], own) == json(own))
  }

  @Test("a pretty line has columns, and facts in the order of their names")
  func prettyShape() {
    #expect(
      pretty(["pid": .stringConvertible(7), "b": "two words", "a": ""])
        == "2026-11-23T04:05:06.789Z WARNING  agentd.event a=\"\" b=\"two words\" pid=7")
  }

  @Test("nothing in a fact ends a pretty line or steers the terminal")
  func prettyEscaping() {
    let line = pretty(["reason": "a\n\"b\"\\\u{1b}[2J\u{9b}2J\u{2028}\u{202e}\u{7f}ü"])
    #expect(
      line.hasSuffix(#" reason="a\n\"b\"\\\u{1B}[2J\u{009B}2J\u{2028}\u{202E}\u{7F}ü""#))
    #expect(
      line.unicodeScalars.allSatisfy {
        ![.control, .format, .lineSeparator].contains($0.properties.generalCategory)
      })
  }
}

@Suite("Program")
struct ProgramTests {
  @Test("it is the first executable file of its name in PATH")
  func find() throws {
    let scratch = Scratch()
    defer { scratch.remove() }
    for name in ["a", "b", "c", "d"] { #expect(mkdir("\(scratch.path)/\(name)", 0o700) == 0) }
    #expect(mkdir("\(scratch.path)/a/podman", 0o700) == 0)
    try write("", to: "\(scratch.path)/b/podman", mode: 0o600)
    try write("", to: "\(scratch.path)/c/podman", mode: 0o700)
    try write("", to: "\(scratch.path)/d/podman", mode: 0o700)
    let path = ["", "relative", "/nonexistent", "a", "b", "c", "d"]
      .map { $0.count == 1 ? "\(scratch.path)/\($0)" : $0 }.joined(separator: ":")
    #expect(Executable.find("podman", in: path) == "\(scratch.path)/c/podman")
    #expect(Executable.find("docker", in: path) == nil)
    #expect(Executable.find("podman", in: "") == nil)
  }
}
