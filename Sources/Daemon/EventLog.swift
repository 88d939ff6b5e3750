// The daemon's log: one event a line on stderr, for machines or for people.

internal import FoundationEssentials
public import Logging
public import Reactor

/// How the log is written and how much of it.
public struct LogSettings: Sendable {
  /// Whether lines are for people instead of machines.
  var isPretty = false
  /// The level of what has none of its own.
  var level: Logger.Level = .info
  /// Levels by label.
  var levels: [String: Logger.Level] = [:]

  /// Reads AGENTD_LOG_FORMAT (`json` or `pretty`) and AGENTD_LOG (`info`, or `info,runner=debug`).
  ///
  /// - Throws: `StartFailure` for a word that is neither.
  public init(environment: [String: String]) throws(StartFailure) {
    switch environment["AGENTD_LOG_FORMAT"] ?? "" {
    case "", "json": isPretty = false
    case "pretty": isPretty = true
    case let other: throw StartFailure("AGENTD_LOG_FORMAT is \"\(other)\": set it to json or pretty.")
    }
    for part in (environment["AGENTD_LOG"] ?? "").split(separator: ",") {
      let words = part.split(separator: "=", maxSplits: 1)
      guard let name = words.last, let level = Logger.Level(rawValue: name.lowercased()) else {
        let levels = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
        throw StartFailure(
          "AGENTD_LOG holds \"\(part)\": use one of \(levels), or LABEL=LEVEL, with commas between.")
      }
      if words.count == 2 { levels[String(words[0])] = level } else { self.level = level }
    }
  }
}

/// Writes events to stderr without ever blocking the loop: what nobody reads is kept up to a limit, then dropped.
public struct EventLog: LogHandler {
  /// Bytes kept while nobody reads.
  private static let bufferLimit = 1 << 20
  /// The one sink of the process.
  @Loop public static let output = InheritedOutput(2, limit: bufferLimit)

  private let label: String
  private let isPretty: Bool
  /// Added to every event.
  public var metadata: Logger.Metadata = [:]
  /// Events below it are not written.
  public var logLevel: Logger.Level

  /// Makes every logger of the process write here. To be called once.
  public static func install(_ settings: LogSettings) {
    LoggingSystem.bootstrap { EventLog(label: $0, settings) }
  }

  init(label: String, _ settings: LogSettings) {
    self.label = label
    isPretty = settings.isPretty
    logLevel = settings.levels[label] ?? settings.level
  }

  /// One piece of metadata.
  public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  /// Writes one event.
  public func log(event: LogEvent) {
    let facts = metadata.merging(event.metadata ?? [:]) { $1 }
    let name = event.message.description
    let (label, isPretty, level) = (label, isPretty, event.level)
    Loop.perform {
      let time = Loop.wallClock.rfc3339
      let line =
        isPretty
        ? Self.pretty(time: time, level: level, name: name, facts: facts)
        : Self.json(time: time, level: level, label: label, name: name, facts: facts)
      let dropped = Self.output.takeDroppedBytes()
      if dropped > 0 {
        let facts: Logger.Metadata = ["bytes": .stringConvertible(dropped)]
        let name = "agentd.log_dropped"
        let note =
          isPretty
          ? Self.pretty(time: time, level: .warning, name: name, facts: facts)
          : Self.json(time: time, level: .warning, label: label, name: name, facts: facts)
        Self.output.post(Array((note + "\n").utf8))
      }
      let bytes = Array((line + "\n").utf8)
      // What tells of trouble is written at once: it may be the last that this process says.
      if level < .warning { Self.output.gather(bytes) } else { Self.output.post(bytes) }
    }
  }

  static func pretty(time: String, level: Logger.Level, name: String, facts: Logger.Metadata) -> String {
    let words = facts.sorted { $0.key < $1.key }.map { key, value in
      let text = value.description
      let isPlain =
        !text.isEmpty && text.unicodeScalars.allSatisfy { $0 > " " && $0 < "\u{7f}" && $0 != "\"" }
      return " \(key)=\(isPlain ? text : quoted(text))"
    }
    let column = level.rawValue.uppercased().padding(to: 8)
    return "\(time) \(column) \(name)\(words.joined())"
  }

  /// In quotes, and without anything that would end the line or steer a terminal.
  private static func quoted(_ text: String) -> String {
    let scalars = text.unicodeScalars.map { scalar in
      switch scalar.properties.generalCategory {
      case .control, .format, .lineSeparator, .paragraphSeparator: scalar.escaped(asASCII: true)
      default: scalar == "\"" || scalar == "\\" ? "\\\(scalar)" : String(scalar)
      }
    }
    return "\"\(scalars.joined())\""
  }

  static func json(time: String, level: Logger.Level, label: String, name: String, facts: Logger.Metadata)
    -> String
  {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let line = Line(time: time, level: level, label: label, name: name, facts: facts)
    guard let data = try? encoder.encode(line) else { return "{\"event\":\"agentd.log_failed\"}" }
    return String(decoding: data, as: UTF8.self)
  }

  /// One object, written straight into one container: a value with an encoding of its own costs several times as much.
  private struct Line: Encodable {
    let time: String
    let level: Logger.Level
    let label: String
    let name: String
    let facts: Logger.Metadata

    func encode(to encoder: any Encoder) throws {
      var object = encoder.container(keyedBy: Key.self)
      for (name, value) in facts {
        let key = Key(stringValue: name)
        switch value {
        case .string(let text): try object.encode(text, forKey: key)
        case .stringConvertible(let value): try encode(value, as: key, into: &object)
        case .array, .dictionary: try object.encode(value.description, forKey: key)
        }
      }
      // What every line has comes last, so that no fact takes its place.
      try object.encode(time, forKey: Key(stringValue: "timestamp"))
      try object.encode(level.rawValue, forKey: Key(stringValue: "level"))
      try object.encode(label, forKey: Key(stringValue: "label"))
      try object.encode(name, forKey: Key(stringValue: "event"))
    }

    private func encode(
      _ value: any CustomStringConvertible & Sendable, as key: Key,
      into object: inout KeyedEncodingContainer<Key>
    ) throws {
      // The types that there are first: whether a type is any kind of integer takes a search.
      switch value {
      case let number as UInt64: try object.encode(Int64(clamping: number), forKey: key)
      case let number as Int: try object.encode(number, forKey: key)
      case let number as Int32: try object.encode(number, forKey: key)
      case let flag as Bool: try object.encode(flag, forKey: key)
      case let number as any BinaryInteger: try object.encode(Int64(clamping: number), forKey: key)
      default: try object.encode(value.description, forKey: key)
      }
    }
  }

  private struct Key: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }
}

extension String {
  fileprivate func padding(to width: Int) -> String {
    self + String(repeating: " ", count: max(0, width - count))
  }
}
