// The work that is measured, and the least that it could be.

import Audit
import Control
import Cron
@preconcurrency import Glibc
import Profiles
import Reactor
import Time

private let program = "/bin/true"

/// pidfd_open(2), which Swift's Glibc module lacks.
private let pidfdOpen: @convention(c) (pid_t, UInt32) -> Int32 = {
  guard let symbol = dlsym(nil, "pidfd_open") else { fatalError("no pidfd_open") }
  return unsafeBitCast(symbol, to: (@convention(c) (pid_t, UInt32) -> Int32).self)
}()

@Loop
enum Work {
  static func spawn() async {
    let command = Command(executable: program, arguments: [], environment: [], deadline: .seconds(60))
    guard let result = try? await command.run(), result.succeeded else {
      fatalError("\(program) did not run")
    }
  }

  static func watch() async {
    let child = Floor.start()
    guard let process = try? Process(pid: child, needsStatus: false) else { fatalError("no pidfd") }
    await process.wait()
    process.close()
    Floor.reap(child)
  }

  static func timers() async {
    let now = Loop.now
    let timers = Floor.moments.map { Timer(at: now + .nanoseconds(Int64($0)) + .seconds(3600)) {} }
    for timer in timers { timer.cancel() }
  }
}

@Loop
enum Floor {
  /// Without an order.
  nonisolated static let moments = (0..<UInt64(1000)).map { $0 &* 7_919 % 1_000_003 }

  static func start() -> pid_t {
    var pid: pid_t = 0
    var words: [UnsafeMutablePointer<CChar>?] = [strdup(program), nil]
    var variables: [UnsafeMutablePointer<CChar>?] = [nil]
    guard posix_spawn(&pid, program, nil, nil, &words, &variables) == 0 else { fatalError("no child") }
    free(words[0])
    return pid
  }

  static func reap(_ pid: pid_t) {
    var status: Int32 = 0
    while waitpid(pid, &status, 0) < 0, errno == EINTR {}
  }

  static func spawn() { reap(start()) }

  static func poll() {
    let child = start()
    let raw = pidfdOpen(child, 0)
    var polled = pollfd(fd: raw, events: Int16(POLLIN), revents: 0)
    while Glibc.poll(&polled, 1, -1) < 0, errno == EINTR {}
    close(raw)
    reap(child)
  }

  static func sort() {
    let sorted = moments.sorted()
    guard sorted.first == 0 else { fatalError("not sorted") }
  }
}

/// A server and its client, and a socket pair beside them.
@Loop
final class Exchange {
  private let path = "/tmp/agentd-micro-\(getpid()).sock"
  private let server: Server
  private let client: Client
  private var ends: (Int32, Int32) = (-1, -1)
  private let bytes = [UInt8](repeating: 0x2e, count: 128)

  init() async throws {
    unlink(path)
    server = try Server(path: path, owner: geteuid(), onRefusal: { _ in }) { connection, _ in
      await connection.send(.done)
    }
    client = try await Client.connect(to: path)
    guard
      withUnsafeMutablePointer(
        to: &ends,
        { pointer in
          pointer.withMemoryRebound(to: Int32.self, capacity: 2) {
            socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, $0)
          }
        }) == 0
    else { fatalError("no socket pair") }
  }

  func ask() async {
    guard (try? await client.send(.stop(session: "0123456789abcdef"))) != nil,
      case .done? = try? await client.next()
    else { fatalError("no answer") }
  }

  func echo() {
    var buffer = bytes
    for (from, to) in [(ends.0, ends.1), (ends.1, ends.0)] {
      guard write(from, bytes, bytes.count) == bytes.count, read(to, &buffer, buffer.count) == bytes.count
      else {
        fatalError("no echo")
      }
    }
  }

  func close() {
    client.close()
    server.close()
    Glibc.close(ends.0)
    Glibc.close(ends.1)
    unlink(path)
  }
}

/// A hundred searches.
struct Search: Sendable {
  private let schedule: Schedule
  private let start = Timestamp(secondsSinceEpoch: 1_795_406_400)

  init() {
    guard let expression = try? CronExpression("30 4 * * MON-FRI") else { fatalError("an expression") }
    schedule = Schedule(name: "day", expression: expression, zone: .utc)
  }

  func next() {
    var moment = start
    for _ in 0..<100 {
      guard let next = schedule.next(after: moment) else { fatalError("no occurrence") }
      moment = next.due
    }
  }

  func mktime() {
    var parts = tm()
    for day in 0..<100 {
      parts.tm_year = 126
      parts.tm_mon = 10
      parts.tm_mday = Int32(day)
      guard timegm(&parts) != 0 else { fatalError("no time") }
    }
  }
}

/// A configuration of a hundred profiles.
final class ConfigurationFile: Sendable {
  private let path: String
  private let bytes: [UInt8]

  init() {
    path = "/tmp/agentd-micro-\(getpid()).toml"
    let profiles = (0..<100).map { number in
      """
      [[profiles]]
      name = "p\(number)"
      base_image = "registry.example.org/agents/reviewer:stable"
      methodology_dir = "/tmp"
      repo = "https://git.example.org/team/project.git"
      command = ["/bin/true", "--work", "everything"]
      schedule = "30 4 * * MON-FRI"
      timezone = "UTC"

      """
    }
    bytes = Array(profiles.joined().utf8)
    guard let file = fopen(path, "w") else { fatalError("no file") }
    fwrite(bytes, 1, bytes.count, file)
    fclose(file)
  }

  deinit { unlink(path) }

  @Loop func parse() {
    do {
      let now = Loop.wallClock
      let host = Host(
        environment: ["HOME": "/nonexistent"], effectiveUserID: geteuid(), workingDirectory: "/",
        exists: { _ in true }, cores: 2, memory: 4 << 30, now: now,
        zone: { (name) throws(SystemZone.Failure) in try SystemZone(name ?? "UTC", around: now) })
      _ = try Configuration.load(path: path, host: host)
    } catch {
      fatalError("\(error)")
    }
  }

  @Loop func copy() {
    var target = [UInt8](repeating: 0, count: bytes.count)
    for _ in 0..<1000 {
      target.withUnsafeMutableBytes { to in bytes.withUnsafeBytes { to.copyMemory(from: $0) } }
    }
    guard target.last == bytes.last else { fatalError("no copy") }
  }
}

/// Records to seal, and trees of the same shape.
final class Trees: @unchecked Sendable {
  private static let files = 500
  private let root: String
  private var number = 0

  init() throws {
    root = "/tmp/agentd-micro-\(getpid())-trees"
    mkdir(root, 0o700)
  }

  private func record() -> Record {
    number += 1
    let now = Timestamp(secondsSinceEpoch: 1_795_406_400)
    let session = String(repeating: "0", count: 16 - "\(number)".count) + "\(number)"
    guard
      let record = try? Record.create(
        auditRoot: root,
        metadata: Metadata(
          sessionID: session, profile: "micro", repoURL: "https://example.org/a.git", startTimestamp: now,
          image: "i"))
    else { fatalError("no record") }
    for file in 0..<Self.files { close(open("\(record.runaPath)/\(file)", O_WRONLY | O_CREAT, 0o644)) }
    return record
  }

  private var fresh: [Record] = []

  /// Made before the time is taken.
  @Loop func seal() {
    guard let record = fresh.popLast(), let sealing = try? Sealing(record: record) else {
      fatalError("no sealing")
    }
    do {
      while try !sealing.step(entries: 256) {}
    } catch {
      fatalError("\(error)")
    }
  }

  @Loop func changeModes() {
    guard let record = fresh.popLast() else { fatalError("no record") }
    for file in 0..<Self.files { chmod("\(record.runaPath)/\(file)", 0o444) }
  }

  func prepare(_ count: Int) { fresh = (0..<count).map { _ in record() } }

  func remove() { system("chmod -R u+w '\(root)' && rm -rf '\(root)'") }
}
