// The daemon's log: one event a line on stderr, for machines or for people.

internal import JSON
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
    let (name, level) = (event.message.description, event.level)
    let time = Loop.wallClock.rfc3339
    let text = line(time: time, level: level, name: name, facts: Self.facts(metadata, event.metadata))
    Loop.perform {
      let dropped = Self.output.takeDroppedBytes()
      if dropped > 0 {
        let note = [Fact(name: "bytes", value: .number(Int64(dropped)))]
        Self.output.post(line(time: time, level: .warning, name: "agentd.log_dropped", facts: note))
      }
      // What tells of trouble is written at once: it may be the last that this process says.
      if level < .warning { Self.output.gather(text) } else { Self.output.post(text) }
    }
  }

  /// What an event says, as it is written.
  enum Value {
    case text(String)
    case number(Int64)
    case flag(Bool)

    init(_ value: Logger.MetadataValue) {
      switch value {
      case .string(let text): self = .text(text)
      case .stringConvertible(let value): self = Self.plain(value)
      case .array, .dictionary: self = .text(value.description)
      }
    }

    private static func plain<Given: CustomStringConvertible>(_ value: Given) -> Value {
      // The types that there are first, and by what they are: a cast takes as long as all the rest of a fact.
      if Given.self == UInt64.self { return .number(Int64(clamping: unsafeBitCast(value, to: UInt64.self))) }
      if Given.self == Int.self { return .number(Int64(unsafeBitCast(value, to: Int.self))) }
      if Given.self == Int32.self { return .number(Int64(unsafeBitCast(value, to: Int32.self))) }
      if Given.self == Bool.self { return .flag(unsafeBitCast(value, to: Bool.self)) }
      if let number = value as? any BinaryInteger { return .number(Int64(clamping: number)) }
      return .text(value.description)
    }

    var description: String {
      switch self {
      case .text(let text): text
      case .number(let number): "\(number)"
      case .flag(let flag): "\(flag)"
      }
    }
  }

  /// A fact of an event: a list takes less than a dictionary that nobody asks.
  typealias Fact = (name: String, value: Value)

  /// What is said of an event, in no order. Its own facts take the place of those that its logger adds to each.
  static func facts(_ common: Logger.Metadata, _ own: Logger.Metadata?) -> [Fact] {
    let own = own ?? [:]
    var facts: [Fact] = []
    facts.reserveCapacity(common.count + own.count)
    for (name, value) in common where own[name] == nil { facts.append((name, Value(value))) }
    for (name, value) in own { facts.append((name, Value(value))) }
    return facts
  }

  private func line(time: String, level: Logger.Level, name: String, facts: [Fact]) -> [UInt8] {
    guard !isPretty else {
      return Array((Self.pretty(time: time, level: level, name: name, facts: facts) + "\n").utf8)
    }
    return Self.json(time: time, level: level, label: label, name: name, facts: facts)
  }

  static func pretty(time: String, level: Logger.Level, name: String, facts: [Fact]) -> String {
    let words = facts.sorted { $0.name < $1.name }.map { name, value in
      let text = value.description
      let isPlain =
        !text.isEmpty && text.unicodeScalars.allSatisfy { $0 > " " && $0 < "\u{7f}" && $0 != "\"" }
      return " \(name)=\(isPlain ? text : quoted(text))"
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

  /// What every line has: no fact takes its place.
  private static let reserved = ["event", "label", "level", "timestamp"]

  /// One object in the order of its keys, and a newline.
  static func json(time: String, level: Logger.Level, label: String, name: String, facts: [Fact]) -> [UInt8] {
    // Names are sorted, and where in the list their facts are: a fact takes its time to be moved.
    var names: [(name: String, place: Int)] = []
    names.reserveCapacity(facts.count + reserved.count)
    for place in facts.indices where !reserved.contains(facts[place].name) {
      names.append((facts[place].name, place))
    }
    for place in reserved.indices { names.append((reserved[place], -1 - place)) }
    names.sort { $0.name < $1.name }
    let own = [name, label, level.rawValue, time]
    var json = JSONWriter()
    json.object {
      for (name, place) in names {
        $0.key(name)
        guard place >= 0 else {
          $0.value(own[-1 - place])
          continue
        }
        switch facts[place].value {
        case .text(let text): $0.value(text)
        case .number(let number): $0.value(number)
        case .flag(let flag): $0.value(flag)
        }
      }
    }
    json.endLine()
    return json.bytes()
  }
}

extension String {
  fileprivate func padding(to width: Int) -> String {
    self + String(repeating: " ", count: max(0, width - count))
  }
}
