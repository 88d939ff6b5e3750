// The configuration as a whole: reads a file and checks all of it before anything is believed.

/// What a configuration file says. A value of this type has passed every rule; the only outside access
/// it takes is reading the file and the zones, and asking whether the sources of mounts exist.
public struct Configuration: Sendable {
  /// The file that is read when the command line names none.
  public static let defaultPath = "/etc/agentd/agentd.toml"

  /// The absolute path of the file.
  public let path: String
  /// The `[daemon]` table, defaults filled in.
  public let daemon: DaemonSettings
  /// The profiles in the order of the file, at least one.
  public let profiles: [Profile]

  /// The profile of that name, if there is one.
  public func profile(named name: String) -> Profile? {
    profiles.first { $0.name == name }
  }

  /// Whether any profile's sessions clone from a mirror on the host.
  public var hasMirrors: Bool { profiles.contains(where: \.repositoryCache) }

  /// The names of all environment variables that hold secrets: the sources of every profile's
  /// credentials and clone token.
  public var secretVariables: Set<String> {
    Set(profiles.flatMap { $0.credentials.map(\.source) + [$0.repositoryTokenSource].compactMap(\.self) })
  }

  /// Reads and checks a file.
  ///
  /// - Parameters:
  ///   - path: The file; relative to the host's working directory when it is not absolute.
  ///   - host: What the rules need to know of the machine.
  /// - Returns: The checked configuration.
  /// - Throws: `ConfigurationError` with everything that is wrong.
  public static func load(path: String, host: Host) throws(ConfigurationError) -> Configuration {
    let path = Path.resolve(path, against: host.workingDirectory)
    let bytes: [UInt8]
    do {
      bytes = try readFile(path, limit: Limits.fileBytes)
    } catch {
      throw ConfigurationError(path, line: nil, error.message)
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      // No byte of a longer character is a newline, so the lines can be judged one by one.
      let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
      let line = lines.firstIndex { String(validating: $0, as: UTF8.self) == nil }
      throw ConfigurationError(
        path, line: line.map { $0 + 1 }, "is not UTF-8; save the file in that encoding")
    }
    return try parse(text, path: path, host: host)
  }

  /// Checks a text.
  ///
  /// - Parameters:
  ///   - text: What the file holds.
  ///   - path: Where it comes from; its folder is what relative paths in it are relative to.
  ///   - host: What the rules need to know of the machine.
  /// - Returns: The checked configuration.
  /// - Throws: `ConfigurationError` with everything that is wrong.
  public static func parse(
    _ text: String, path: String, host: Host
  ) throws(ConfigurationError) -> Configuration {
    let path = Path.resolve(path, against: host.workingDirectory)
    guard text.utf8.count <= Limits.fileBytes else {
      throw ConfigurationError(path, line: nil, "is larger than \(Limits.fileBytes) bytes; split it up")
    }
    let document: [String: TOML]
    do {
      document = try TOML.parse(text)
    } catch {
      throw ConfigurationError(path, line: error.line, error.message)
    }
    let findings = Findings()
    let configuration = Configuration(document, path: path, host: host, findings: findings)
    guard let configuration, findings.all.isEmpty else {
      throw ConfigurationError(findings, path: path, text: text)
    }
    return configuration
  }

  /// Reads a document; nil, or a value not to be used, after at least one report.
  private init?(_ document: [String: TOML], path: String, host: Host, findings: Findings) {
    let folder = Path.folder(of: path)
    let root = Section(table: document, path: [], findings: findings)
    root.refuseKeys(except: ["daemon", "profiles"])
    let daemon = DaemonSettings(Self.daemonSection(root), folder: folder, host: host)
    var taken: [String: Int] = [:]
    let sections = root.sections("profiles", limit: Limits.profiles)
    let zones = Zones(host)
    let profiles = sections.enumerated().compactMap { index, section in
      Profile(section, number: index + 1, taken: &taken, folder: folder, host: host, zones: zones)
    }
    if let failure = zones.localFailure {
      // Once for the file, whichever profiles go by local time.
      root.report(nil, "\(host.environment["TZ", default: ""].quoted) \(failure)")
    }
    if case .array(let elements)? = document["profiles"], elements.isEmpty {
      root.report("profiles", "must not be empty; add a [[profiles]] table")
    } else if document["profiles"] == nil {
      root.report("profiles", "is missing; add a [[profiles]] table")
    }
    guard let daemon else { return nil }
    self.path = path
    self.daemon = daemon
    self.profiles = profiles
  }

  private static func daemonSection(_ root: Section) -> Section {
    var table: [String: TOML] = [:]
    switch root.table["daemon"] {
    case .table(let value): table = value
    case nil: break
    case .some(let value): root.report("daemon", "must be a table, not \(value.type); begin it with [daemon]")
    }
    var section = Section(table: table, path: [.key("daemon")], findings: root.findings)
    section.fieldPrefix = "daemon."
    return section
  }
}

extension ConfigurationError {
  /// One problem with the file as a whole.
  init(_ file: String, line: Int?, _ message: String) {
    problems = [Problem(file: file, line: line, profile: nil, field: nil, message: message)]
  }

  /// What was found in a file, with the lines looked up.
  init(_ findings: Findings, path: String, text: String) {
    let lines = SourceLines(text)
    let found = findings.all.map { finding in
      Problem(
        file: path, line: lines[finding.path], profile: finding.profile, field: finding.field,
        message: finding.message)
    }
    // The order in which they were found is kept within a line.
    problems = found.enumerated()
      .sorted { ($0.element.line ?? 0, $0.offset) < ($1.element.line ?? 0, $1.offset) }
      .map(\.element)
  }
}
