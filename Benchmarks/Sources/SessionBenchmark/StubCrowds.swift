// Crowds of sessions on the stub engine: what each costs the daemon in memory and processor time, and what is left after.

import Engine
import Glibc
import Reactor

/// What was seen with one number of sessions.
struct StubCrowd: Codable, Sendable {
  /// One crowd that was live all at once, from its first request to its last end.
  struct Round: Codable, Sendable {
    /// When all were live, and when all had ended.
    var live: ProcessFigures
    var after: ProcessFigures
    /// Of the daemon, in microseconds a session.
    var processorMicroseconds: Double
    /// Processes that the daemon started for a session.
    var spawnsPerSession: Double
    /// The bare cost of so many starts, in microseconds a session.
    var spawnMicroseconds: Double
    /// From the first request until all were live, and from their release until all had been answered.
    var startSeconds: Double
    var endSeconds: Double
  }

  var sessions: Int
  /// The daemon before its first session.
  var idle: ProcessFigures
  var rounds: [Round] = []
  /// A crowd whose sessions end by themselves, at once.
  var secondsOfShort = 0.0
  var sessionsPerSecond = 0.0
  var accepted = Percentiles([])
  var finished = Percentiles([])
}

@Loop
struct StubCrowds {
  private static let patience: Duration = .seconds(900)
  private static let spawnRepeats = 300
  private static let settling: Duration = .milliseconds(200)

  let options: Options

  func measure(_ count: Int, rounds: Int) async throws -> StubCrowd {
    let directory = "\(options.scratch)/stub-\(count)"
    mkdir(directory, 0o700)
    let marks = "\(directory)/marks"
    let hold = "\(directory)/hold"
    for path in [marks, hold] { try write("", to: path) }
    let daemon = try await BenchDaemon.start(
      "stub-\(count)", command: ["stub", "print=ready", "mark=\(marks)", "until=\(hold)"], options)
    do {
      var crowd = StubCrowd(sessions: count, idle: ProcessFigures(of: daemon.pid))
      for _ in 0..<rounds {
        crowd.rounds.append(try await round(count, of: daemon, marks: marks, hold: hold))
      }
      try await measureShort(&crowd, of: daemon)
      try await daemon.stop()
      return crowd
    } catch {
      daemon.abandon()
      throw error
    }
  }

  private func round(
    _ count: Int, of daemon: BenchDaemon, marks: String, hold: String
  ) async throws -> StubCrowd.Round {
    let spawn = try await bareSpawn(daemon)
    let lock = open(hold, O_RDONLY | O_CLOEXEC)
    guard lock >= 0, flock(lock, LOCK_EX) == 0 else { throw Complaint("\(hold) cannot be locked") }
    var isHeld = true
    defer { if isHeld { close(lock) } }
    let marked = size(marks)
    let removals = size("\(daemon.directory)/state/.removals")
    let processor = processorNanoseconds(of: daemon.pid)
    let began = Loop.now
    let load = Load(count, of: daemon)
    let deadline = began + Self.patience
    while size(marks) < marked + count {
      if let problem = load.problem { throw Complaint(problem) }
      guard Loop.now < deadline else {
        throw Complaint("of \(count) sessions only \(size(marks) - marked) reached their command")
      }
      await Timer.sleep(.milliseconds(10))
    }
    try await load.waitUntilAccepted()
    let started = Loop.now
    let live = ProcessFigures(of: daemon.pid)
    let released = Loop.now
    close(lock)
    isHeld = false
    try await load.waitUntilFinished()
    let ended = Loop.now
    // What the daemon does once it has answered belongs to it: it lets go of our connections.
    await Timer.sleep(Self.settling)
    let used = processorNanoseconds(of: daemon.pid) - processor
    let spawns = Double(count + size("\(daemon.directory)/state/.removals") - removals) / Double(count)
    return StubCrowd.Round(
      live: live, after: ProcessFigures(of: daemon.pid),
      processorMicroseconds: Double(used) / Double(count) / 1000, spawnsPerSession: spawns,
      spawnMicroseconds: spawns * spawn / 1000, startSeconds: seconds(began, started),
      endSeconds: seconds(released, ended))
  }

  private func measureShort(_ crowd: inout StubCrowd, of daemon: BenchDaemon) async throws {
    let load = Load(crowd.sessions, of: daemon)
    try await load.waitUntilFinished()
    let first = load.served.map(\.asked).min() ?? 0
    let last = load.served.map(\.finished).max() ?? 0
    crowd.secondsOfShort = Double(last - first) / 1e9
    crowd.sessionsPerSecond = Double(crowd.sessions) / crowd.secondsOfShort
    crowd.accepted = Percentiles(load.served.map { $0.accepted - $0.asked })
    crowd.finished = Percentiles(load.served.map { $0.finished - $0.asked })
  }

  /// What it costs a process to start another and to reap it, in nanoseconds: posix_spawn(3) and waitpid(2) with words as
  /// long as those of a launch, and nothing else.
  private func bareSpawn(_ daemon: BenchDaemon) async throws -> Double {
    let launch = FloorSession(in: "\(daemon.directory)/words", number: 0, options).launch
    let words = ["podman", "nothing"] + Podman().run(launch)
    try write("", to: "\(daemon.directory)/words")
    try write(words.map { $0 + "\0" }, to: "\(daemon.directory)/words")
    let result = try await Command(
      executable: "\(options.tools)/spawncost",
      arguments: ["\(Self.spawnRepeats)", "\(options.podman)/podman", "\(daemon.directory)/words"],
      environment: ["STUB_STATE=\(daemon.directory)/state"], deadline: .seconds(60)
    ).run()
    guard result.succeeded,
      let cost = Double(String(decoding: result.standardOutput, as: UTF8.self).prefix { $0.isNumber })
    else {
      throw Complaint(
        "the cost of a spawn is not known: " + String(decoding: result.standardError, as: UTF8.self))
    }
    return cost
  }
}

func seconds(_ from: Instant, _ to: Instant) -> Double { Double(to.nanoseconds - from.nanoseconds) / 1e9 }

/// The size of a file; 0 where there is none.
func size(_ path: String) -> Int {
  var status = stat()
  return stat(path, &status) == 0 ? Int(status.st_size) : 0
}

/// Writes texts anew, NULs among them included.
func write(_ texts: [String], to path: String) throws {
  guard let file = fopen(path, "w") else { throw Complaint("\(path) cannot be written") }
  defer { fclose(file) }
  for text in texts {
    let bytes = Array(text.utf8)
    guard fwrite(bytes, 1, bytes.count, file) == bytes.count else {
      throw Complaint("\(path) cannot be written")
    }
  }
}
