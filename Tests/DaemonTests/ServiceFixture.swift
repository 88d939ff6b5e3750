// A whole daemon on a stand-in for podman, in a process of its own.

import Control
import Cron
import Engine
import Glibc
import Logging
import Profiles
import Reactor
import TestSupport

@testable import Daemon

/// A service with one profile, `worker`, whose containers are shell scripts.
@Loop
final class ServiceFixture {
  /// The daemon's variable behind the profile's credential, and its value.
  nonisolated static let secretVariable = "AGENTD_TEST_SECRET"
  nonisolated static let secret = "planted-5e12d0c5"

  /// A file `on_VERB` is run before the verb's own part.
  ///
  /// `podman run` starts what stands for conmon, and that what stands for the container: it reads its envelope, comes
  /// to its command, and ends with the code that it reads from `finish`, or from `$finish`, which one that reads at the same time needs. What a test writes to `on_VERB` is done first,
  /// what it writes to `on_started` when the container runs, and what it writes to `on_end` by conmon when it has ended.
  nonisolated static let containerScript = """
    env >>"$here/environment"
    finish="$here/finish"
    container() {
      exec <"$1"
      read -r repository; read -r unit; read -r token; read -r count
      # Lines, not words: their values are not decoded here.
      while [ "$count" -gt 0 ]; do read -r line; echo "$line" >>"$here/received"; count=$((count - 1)); done
      echo command >>"$2"
      echo command >>"$here/commands"
      read -r code <"$finish"
      exit "$code"
    }
    conmon() {
      container "$1" "$2" &
      echo $! >"$3"
      echo $! >"$here/$name.pid"
      # The number of this very shell: $$ is the first one's.
      sh -c 'echo $PPID' >"$4"
      echo started >"$5"
      wait $!
      echo "exited $? false \\"2026-11-23T04:05:06Z\\"" >"$here/exit"
      if [ -e "$here/on_end" ]; then . "$here/on_end"; fi
      echo ended >>"$here/conmons"
    }
    if [ -e "$here/on_$verb" ]; then . "$here/on_$verb"; fi
    case $verb in
    info) printf 'overlay\\n%s\\n' "$here/store" ;;
    ps) ;;
    image) echo "$digits sha256:$digits" ;;
    inspect) cat "$here/exit" ;;
    rm)
      if [ -e "$here/stuck" ]; then fail 125 'it is stuck'; fi
      for word; do
        if [ -e "$here/$word.pid" ]; then kill -KILL "$(cat "$here/$word.pid")" 2>/dev/null || :; fi
      done ;;
    run)
      while [ $# -gt 0 ]; do
        case $1 in
        --conmon-pidfile) conmon_pid=$2 ;;
        --pidfile) pid=$2 ;;
        --name) name=$2 ;;
        --mount)
          source=${2#type=bind,src=}
          case $2 in
          *,dst=/agentd/envelope*) envelope=${source%%,*} ;;
          *,dst=/agentd/report*) report=${source%%,*} ;;
          esac ;;
        esac
        shift
      done
      # One for each, lest one launch takes another's container for its own.
      mkfifo "$here/$name.started"
      conmon "$envelope" "$report" "$pid" "$conmon_pid" "$here/$name.started" </dev/null >/dev/null 2>&1 &
      read -r word <"$here/$name.started"
      rm "$here/$name.started"
      if [ -e "$here/on_started" ]; then . "$here/on_started"; fi
      echo $digits ;;
    esac
    """

  /// What this process has logged.
  nonisolated static let log = Events()

  let scratch: Scratch
  let podman: StubPodman
  let configuration: Configuration
  private let finish: Descriptor
  private var ended: Task<String?, Never>?

  var socketPath: String { configuration.daemon.socketPath }
  var pidFile: String { configuration.daemon.pidFile }
  var runtimeDirectory: String { "\(scratch.path)/run/\(Instance.id(configuration.daemon))" }

  /// - Parameters:
  ///   - settings: further lines of the `[daemon]` table.
  ///   - hasMirrors: whether its profiles have a repo_cache.
  ///   - others: the names of further profiles, which are like the first.
  ///   - command: the profiles' command, one word.
  ///   - path: an empty directory; nil for a fresh one.
  ///   - left: the directory of a fixture of another process, whose daemon has gone.
  init(
    _ settings: String = "", hasMirrors: Bool = false, others: [String] = [], command: String = "true",
    at path: String? = nil,
    takingOver left: String? = nil
  ) throws {
    scratch = (left ?? path).map { Scratch(existing: $0) } ?? Scratch()
    if let left {
      podman = StubPodman(existing: left)
    } else {
      podman = try StubPodman(in: scratch.path, Self.containerScript)
      try Self.furnish(scratch.path)
    }
    // Held open, so that no container waits for a writer; it reads an end of file when this process has gone.
    finish = Descriptor(owning: open("\(scratch.path)/finish", O_RDWR | O_NONBLOCK | O_CLOEXEC))
    let head = """
      [daemon]
      socket_path = "run/agentd.sock"
      pid_file = "run/agentd.pid"
      audit_root = "audit"
      cache_root = "cache"
      \(settings)

      """
    let profiles = (["worker"] + others).map { name in
      """
      [[profiles]]
      name = "\(name)"
      base_image = "base:1"
      methodology_dir = "method"
      command = ["\(command)"]
      repo = "https://example.org/a.git"
      repo_cache = \(hasMirrors)
      [[profiles.credentials]]
      name = "API_KEY"
      source = "\(Self.secretVariable)"

      """
    }
    let host = Host(
      environment: [:], effectiveUserID: geteuid(), workingDirectory: "/", exists: { _ in true },
      cores: 2, memory: 64 << 30, now: Loop.wallClock, zone: { _ in SystemZone(.utc, file: nil) })
    configuration = try Configuration.parse(
      head + profiles.joined(), path: "\(scratch.path)/agentd.toml", host: host)
  }

  private static func furnish(_ path: String) throws {
    guard mkfifo("\(path)/finish", 0o600) == 0 else { throw CallFailed("mkfifo", errno) }
    for lines in ["commands", "conmons"] { try write("", to: "\(path)/\(lines)") }
    guard mkdir("\(path)/method", 0o700) == 0 else { throw CallFailed("mkdir", errno) }
    try write("", to: "\(path)/method/manifest.toml")
  }

  /// Has something done when podman is called with a verb, or, by `end`, when a container has ended.
  func on(_ verb: String, _ script: String) throws {
    try write("\(script)\n", to: "\(scratch.path)/on_\(verb)")
  }

  /// Ends what `on` began.
  func clear(_ verb: String) { unlink("\(scratch.path)/on_\(verb)") }

  /// Starts the daemon. When it has ended, `end` tells.
  func start(
    environment: [String: String]? = nil, deadlines: Containers.Deadlines = .init(),
    handOverPatience: Duration? = nil
  ) {
    let service = Service(
      configuration: configuration,
      environment: environment ?? [
        "PATH": "\(scratch.path):/usr/bin:/bin", Self.secretVariable: Self.secret, "HARMLESS": "kept",
      ],
      sealCommand: ["/bin/false"])
    if let handOverPatience { service.handOverPatience = handOverPatience }
    service.deadlines = deadlines
    ended = Task { @Loop in
      guard let choice = LoopThread.choice else { return "the loop does not run" }
      do throws(StartFailure) {
        try await service.run(backend: choice)
        return nil
      } catch {
        return error.description
      }
    }
  }

  /// Why the daemon did not start; nil when it did and has ended well.
  func end() async -> String? { await ended?.value }

  /// Connects as soon as the daemon listens.
  func connect() async throws -> Client {
    await Self.log.wait(for: "agentd.daemon_started")
    return try await Client.connect(to: socketPath)
  }

  /// Returns when so many containers have come to their commands.
  func waitForCommands(_ count: Int) async throws { try await podman.wait(for: count, linesIn: "commands") }

  /// Returns when so many conmons have done what they do at an end. A session does not wait for one that it does not know.
  func waitForConmons(_ count: Int) async throws { try await podman.wait(for: count, linesIn: "conmons") }

  /// Lets one container end with this code.
  func finish(_ code: Int) throws {
    let line = Array("\(code)\n".utf8)
    guard write(finish.raw, line, line.count) == line.count else { throw CallFailed("write", errno) }
  }

  /// Runs a session whose container ends with this code as soon as it may, and returns how it ended; nil when it was
  /// refused.
  func run(
    _ client: Client, profile: String = "worker", repository: String? = nil, code: Int = 0
  ) async throws -> FinishedSession? {
    // What an earlier one was left that never came to its end.
    var rest = [UInt8](repeating: 0, count: 1 << 12)
    while read(finish.raw, &rest, rest.count) > 0 {}
    try finish(code)
    try await client.send(Self.request(profile: profile, repository: repository))
    while true {
      switch try await client.next() {
      case .accepted: continue
      case .finished(let session): return session
      default: return nil
      }
    }
  }

  /// The sentence of a refused reply.
  static func refusal(_ reply: Reply) -> String? {
    guard case .refused(let reason) = reply else { return nil }
    return reason
  }

  static func request(
    detach: Bool = false, profile: String = "worker", repository: String? = nil, timeout: UInt64? = nil
  ) -> Request {
    .run(
      invocation: InvocationRequest(
        profile: profile, repository: repository, workUnit: nil, timeoutMilliseconds: timeout, detach: detach)
    )
  }
}

/// Makes a process ready for a service: the secret in its environment, its log, its loop.
///
/// - Parameter alone: whether its loop has descriptors of its own.
func prepareService(alone: Bool = false) throws {
  guard setenv(ServiceFixture.secretVariable, ServiceFixture.secret, 1) == 0 else {
    throw CallFailed("setenv", errno)
  }
  let settings = try LogSettings(environment: [:])
  LoggingSystem.bootstrap { label in
    MultiplexLogHandler([EventLog(label: label, settings), EventRecorder(ServiceFixture.log)])
  }
  if alone { LoopThread.startAlone() } else { LoopThread.start() }
}
