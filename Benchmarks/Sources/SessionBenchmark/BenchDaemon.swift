// A daemon of its own for a measurement: its configuration, its start, its end.

import Glibc
import Reactor

@Loop
final class BenchDaemon {
  /// The credential that each session is handed.
  nonisolated static let credential = "BENCH_CREDENTIAL"
  private static let startPatience: Duration = .seconds(60)
  private static let stopPatience: Duration = .seconds(300)
  /// The most sessions that any measurement has at once.
  static let sessionLimit = 10_000

  let directory: String
  let pid: Int32
  /// Where its socket is, and the directory of its private directories.
  let runtime: String
  var socketPath: String { "\(runtime)/agentd.sock" }
  private let child: Child

  private init(directory: String, runtime: String, child: Child, pid: Int32) {
    self.directory = directory
    self.runtime = runtime
    self.child = child
    self.pid = pid
  }

  /// Starts one in a new folder and returns when it listens.
  ///
  /// - Parameters:
  ///   - name: of the folder.
  ///   - command: of the profile `bench`.
  ///   - environment: NAME=value, beside what all have.
  static func start(
    _ name: String, command: [String], environment: [String] = [], _ options: Options
  ) async throws -> BenchDaemon {
    let directory = "\(options.scratch)/\(name)"
    for folder in [directory, "\(directory)/methodology", "\(directory)/state"] { mkdir(folder, 0o700) }
    try write("name = \"bench\"\n", to: "\(directory)/methodology/manifest.toml")
    let runtime = "\(options.runtime)/\(name)"
    try write(configuration(command, runtime, options), to: "\(directory)/agentd.toml")
    let child = try Child(
      Command(
        executable: options.agentd, arguments: ["daemon", "--config", "\(directory)/agentd.toml"],
        environment: variables(directory, options) + environment, deadline: .seconds(7200)))
    let deadline = Loop.now + startPatience
    while Loop.now < deadline {
      if access("\(runtime)/agentd.sock", F_OK) == 0,
        let pid = Int32(contents(of: "\(runtime)/agentd.pid").prefix { $0.isNumber })
      {
        return BenchDaemon(
          directory: directory, runtime: runtime, child: child, pid: pid)
      }
      await Timer.sleep(.milliseconds(10))
    }
    child.kill()
    throw Complaint("the daemon did not start: " + lastWords(await child.wait()))
  }

  private static func variables(_ directory: String, _ options: Options) -> [String] {
    var variables = inherited([
      "HOME", "XDG_RUNTIME_DIR", "CONTAINERS_CONF", "CONTAINERS_CONF_OVERRIDE", "AGENTD_REACTOR",
      "BENCH_PODMAN",
    ])
    variables += [
      "PATH=\(options.podman):/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      "\(credential)=not-a-secret", "STUB_STATE=\(directory)/state", "BENCH_LOG=\(directory)/calls",
    ]
    return variables
  }

  private static func configuration(
    _ command: [String], _ runtime: String, _ options: Options
  ) -> String {
    let words = command.map { "\"\($0)\"" }.joined(separator: ", ")
    return """
      [daemon]
      socket_path = "\(runtime)/agentd.sock"
      max_sessions = \(sessionLimit)
      pid_file = "\(runtime)/agentd.pid"
      audit_root = "audit"

      [[profiles]]
      name = "bench"
      base_image = "\(options.image)"
      methodology_dir = "methodology"
      repo = "\(options.repository)"
      repo_cache = false
      command = [\(words)]

      [[profiles.credentials]]
      name = "\(credential)"
      source = "\(credential)"

      """
  }

  /// Ends it and returns when it has ended.
  ///
  /// - Throws: when it did not end well.
  func stop() async throws {
    Glibc.kill(pid, SIGTERM)
    let patience = Timer(after: Self.stopPatience) { self.child.kill() }
    let result = await child.wait()
    patience.cancel()
    guard result.succeeded else { throw Complaint("the daemon ended badly: " + Self.lastWords(result)) }
  }

  /// Ends it whatever it does, and its sessions are left to nobody: for a measurement that failed.
  func abandon() { child.kill() }

  private static func lastWords(_ result: CommandResult) -> String {
    String(decoding: result.standardError.suffix(1000), as: UTF8.self)
  }

  /// The calls of podman by its words so far, where the timing podman is used.
  var calls: String { contents(of: "\(directory)/calls") }
}
