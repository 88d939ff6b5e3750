// A daemon of a test's own: its directory, its configuration, its process, its clients and its records.

import Glibc
import Reactor

final class Daemon {
  /// Everything of this daemon lies here.
  let home: String
  /// Lines of the `[daemon]` table beside its paths. However small the machine, no test is to wait for places by accident.
  var settings = "max_sessions = 200"
  private(set) var environment: [String: String]
  private(set) var program: Program?
  /// The eight digits that mark everything of this daemon, once it has started.
  private(set) var instance: String?
  /// Where its records are.
  private(set) var auditRoot: String
  private let profiles: [Profile]
  /// What its clients are started with.
  var clientEnvironment = Host.environment
  /// All programs that were started for this daemon, for the failure.
  private var clients: [Program] = []

  // The tests run one after the other.
  nonisolated(unsafe) private static var count = 0

  init(_ profiles: [Profile], environment added: [String: String] = [:]) throws {
    Daemon.count += 1
    home = "\(Ground.directory)/\(Daemon.count)"
    runtimeDirectory = "\(Ground.runtime)/\(Daemon.count)"
    auditRoot = "\(home)/audit"
    self.profiles = profiles
    environment = Host.environment.merging(added) { $1 }
    try makeDirectory(home)
    for name in ["methodology", "io"] { try makeDirectory("\(home)/\(name)") }
    try writeFile("\(home)/methodology/manifest.toml", "name = \"tests\"\n")
    try configure(profiles)
  }

  var config: String { "\(home)/agentd.toml" }
  var socket: String { "\(runtimeDirectory)/agentd.sock" }
  let runtimeDirectory: String

  /// Writes the configuration.
  func configure(_ profiles: [Profile]) throws {
    let head = """
      [daemon]
      socket_path = "\(socket)"
      pid_file = "\(runtimeDirectory)/agentd.pid"
      audit_root = "\(auditRoot)"
      cache_root = "cache"
      \(settings)


      """
    try writeFile(config, head + profiles.map { try $0.toml() }.joined(separator: "\n"))
  }

  /// Has a daemon that has not started yet keep its records elsewhere.
  func placeAudit(at path: String) throws {
    auditRoot = path
    try configure(profiles)
  }

  /// Puts a directory before the others on the PATH of a daemon that has not started yet.
  func prependToPath(_ directory: String) {
    environment["PATH"] = "\(directory):\(environment["PATH"] ?? "/usr/bin:/bin")"
  }

  /// Has the next start of the daemon kill itself when its first session comes to a step; nil for never.
  func killAt(_ step: String?) { environment["AGENTD_TEST_KILL_AT"] = step }

  // MARK: The process

  /// Starts the daemon and returns at once.
  func launch(_ arguments: [String]? = nil) throws { program = try spawn(arguments) }

  /// Starts the daemon and returns when it listens.
  func start(_ arguments: [String]? = nil) throws {
    try launch(arguments)
    try waitForStart()
  }

  /// Returns when a daemon that was launched listens.
  func waitForStart() throws {
    try waitFor("agentd.daemon_started")
    let isHex = { (name: String) in name.count == 8 && name.allSatisfy(\.isHexDigit) }
    instance = entries(of: runtimeDirectory).first(where: isHex)
  }

  /// Starts a daemon on this configuration and returns at once.
  func spawn(_ arguments: [String]? = nil) throws -> Program {
    let started = try Program(
      Host.agentd, arguments ?? ["daemon", "--config", config], environment: environment,
      directory: "\(home)/io", name: "daemon")
    clients.append(started)
    return started
  }

  var pid: Int32 { program?.pid ?? -1 }

  /// Sends SIGTERM and waits for the end.
  func stop() throws -> ExitStatus {
    program?.signal(SIGTERM)
    return try wait()
  }

  /// Waits for the end of the daemon.
  func wait() throws -> ExitStatus {
    guard let program else { throw Failure("no daemon was started") }
    return try waitUntil("the end of the daemon", ended: [program], seen: { self.report() }) {
      program.hasEnded ? program.status : nil
    }
  }

  // MARK: Its log

  /// The events of the log so far. The sentence of a daemon that cannot start is none.
  func log() -> [LogLine] {
    guard let program else { return [] }
    // A line that is still being written is left out.
    let text = program.errors.text
    let whole = text[..<(text.lastIndex(of: "\n") ?? text.startIndex)]
    return whole.split(separator: "\n").compactMap { try? LogLine($0) }
  }

  /// Waits for so many lines of an event, of one session if one is named, and returns them.
  @discardableResult
  func waitFor(_ event: String, session: String? = nil, count: Int = 1) throws -> [LogLine] {
    guard let program else { throw Failure("no daemon was started") }
    return try waitUntil(
      "\(count) x \(event) \(session ?? "")", files: [program.errors.path], alive: program,
      seen: { self.report() }
    ) {
      let lines = log().filter { $0.event == event && (session == nil || $0.session == session) }
      return lines.count >= count ? lines : nil
    }
  }

  // MARK: Its clients

  /// Starts `agentd WORDS --config FILE`.
  func begin(_ words: String...) throws -> Program { try begin(words) }

  func begin(_ words: [String]) throws -> Program {
    let client = try Program(
      Host.agentd, words + ["--config", config], environment: clientEnvironment,
      directory: "\(home)/io", name: words.first ?? "agentd")
    clients.append(client)
    return client
  }

  /// Runs `agentd WORDS --config FILE` to its end.
  func agentd(_ words: String...) throws -> Ended { try agentd(words) }

  func agentd(_ words: [String]) throws -> Ended { try end(of: try begin(words)) }

  /// Waits for the end of a client.
  @discardableResult
  func end(of client: Program) throws -> Ended {
    let status = try waitUntil(
      "the end of \(client.name)", ended: [client],
      seen: { "stdout: \(client.output.tail)\nstderr: \(client.errors.tail)\n\(self.report())" }
    ) { client.hasEnded ? client.status : nil }
    return Ended(status: status, output: client.output.bytes, errors: client.errors.text)
  }

  // MARK: What it leaves

  /// The records of all sessions, by profile and id.
  func records() -> [Record] {
    return entries(of: auditRoot).flatMap { profile in
      entries(of: "\(auditRoot)/\(profile)").map { Record(path: "\(auditRoot)/\(profile)/\($0)") }
    }
  }

  /// The record of the only session so far.
  func record() throws -> Record {
    let all = records()
    guard all.count == 1 else { throw Failure("\(all.count) records where one was expected: \(all)") }
    return all[0]
  }

  /// The record of a session.
  func record(_ session: String) throws -> Record {
    guard let record = records().first(where: { $0.id == session }) else {
      throw Failure("no record of session \(session) in \(records())")
    }
    return record
  }

  /// The names of this daemon's containers, in whatever state.
  func containers() throws -> [String] {
    guard let instance else { return [] }
    return try Host.podman("ps", "--all", "--format", "{{.Names}}").split(separator: "\n").map(String.init)
      .filter { $0.hasPrefix("agentd-\(instance)-") }
  }

  /// The processes whose words name a container of this daemon.
  func strays() -> [String] {
    guard let instance else { return [] }
    return entries(of: "/proc").filter { Int32($0) != nil }.compactMap { pid in
      let words = readText("/proc/\(pid)/cmdline").replacing("\0", with: " ")
      return words.contains("agentd-\(instance)-") ? "\(pid): \(words)" : nil
    }
  }

  /// What lies in the runtime directory, below which sessions keep what is theirs.
  func runtimeFiles() -> [String] {
    return entries(of: runtimeDirectory).flatMap { name in
      [name] + entries(of: "\(runtimeDirectory)/\(name)").map { "\(name)/\($0)" }
    }
  }

  /// The sessions that have something on the host to clone from.
  func clones() -> [String] {
    return entries(of: "\(home)/cache/clones").flatMap { entries(of: "\(home)/cache/clones/\($0)") }
  }

  // MARK: The end

  /// What there is to see when a test fails.
  func report() -> String {
    var text = "the daemon's log:\n\(program?.errors.text.suffix(12_000) ?? "none")"
    for client in clients where client !== program {
      text += "\n\(client.name): \(client.status.map { "\($0)" } ?? "runs"), stderr: \(client.errors.tail)"
    }
    for record in records() { text += "\nconsole of \(record.id): \(record.console.suffix(2000))" }
    return text
  }

  /// Ends every process and removes every container and file, whatever state the test left.
  func clear() throws {
    for client in clients { client.kill() }
    let left = try containers()
    if !left.isEmpty { try Host.run("podman", ["rm", "--force", "--time", "0"] + left) }
    clients = []
    program = nil
    try Host.removeTree(home)
  }
}

/// A line of the daemon's log.
struct LogLine {
  let json: JSON
  let text: String

  init(_ line: some StringProtocol) throws {
    json = try JSON(parsing: line)
    text = String(line)
  }

  var event: String? { (json["event"] ?? json["message"])?.string }
  var session: String? { json["session_id"]?.string }
  var container: String? { json["container_name"]?.string }
}

/// How a client ended and what it printed.
struct Ended {
  let status: ExitStatus
  let output: [UInt8]
  let errors: String

  var text: String { String(decoding: output, as: UTF8.self) }
  /// The last line on stderr.
  var lastLine: String { String(errors.split(separator: "\n").last ?? "") }
}

/// Starts a daemon, runs the test, and clears up. When the test failed, prints what there is to see.
func withDaemon(
  _ profiles: Profile..., environment: [String: String] = [:], starting: Bool = true,
  _ body: (Daemon) throws -> Void
) throws {
  let daemon = try Daemon(profiles, environment: environment)
  Issues.begin()
  do {
    if starting { try daemon.start() }
    try body(daemon)
  } catch {
    Issues.note()
    explain(daemon)
    try? daemon.clear()
    throw error
  }
  explain(daemon)
  try daemon.clear()
}

/// Starts nothing: several daemons that a test starts by itself, each with a profile of its own, cleared up at the end.
func withDaemons(_ profiles: [Profile], _ body: ([Daemon]) throws -> Void) throws {
  let daemons = try profiles.map { try Daemon([$0]) }
  Issues.begin()
  do {
    try body(daemons)
  } catch {
    Issues.note()
    daemons.forEach(explain)
    for daemon in daemons { try? daemon.clear() }
    throw error
  }
  daemons.forEach(explain)
  for daemon in daemons { try daemon.clear() }
}

private func explain(_ daemon: Daemon) {
  guard Issues.seen else { return }
  let text = Array("---- what the failed test saw\n\(daemon.report())\n----\n".utf8)
  _ = write(2, text, text.count)
}
