// Sessions of a real daemon that leave many files, and pings to it while it seals them.

import Audit
import BenchmarkSupport
import Control
import Glibc
import Histogram

/// The load.
struct DaemonLoad {
  static let sessions = 3
  /// The longest that one ping in a hundred may take, in milliseconds.
  static let latencyLimit = 2.0
  /// Between two pings, in microseconds: a client that never rests would measure how two cores are shared.
  private static let pause: useconds_t = 300

  let agentd: String
  let config: String
  let socket: String
  let scratch: String
  let files: Int

  /// Prints what was seen and tells whether it is within the limits.
  func measure() throws -> Bool {
    var latency = Histogram<UInt32>(
      highestTrackableValue: 60_000_000_000, numberOfSignificantValueDigits: .three)
    var ratios: [Double] = []
    print("the daemon, \(Self.sessions) sessions with \(files) files each: wall, in ms")
    for session in 0..<Self.sessions {
      let plain = Tree(path: "\(scratch)/plain-\(session)")
      try checked("mkdir", mkdir(plain.path, 0o777))
      // As the session's own files: by a process that has just ended.
      guard try spawned([CommandLine.arguments[0], "fill", plain.path, "\(files)"]).code == 0 else {
        throw Unexpected("the tree was not made")
      }
      let floor = try plain.chmod("a=rX")
      let (record, pings) = try run()
      let phases = try record.readMetadata().phases
      // Sealing begins while the container is removed, which takes the stand-in for podman no time to speak of.
      guard let removal = phases.first(where: { $0.name == "teardown" }), let end = phases.last?.endTimestamp
      else {
        throw Unexpected("\(record.path) was not sealed")
      }
      let sealing = removal.startTimestamp.nanosecondsSinceEpoch..<end.nanosecondsSinceEpoch
      for ping in pings where sealing.contains(ping.sent) { latency.record(UInt64(ping.took)) }
      let wall = sealing.upperBound - sealing.lowerBound
      ratios.append(Double(wall) / Double(floor.wall))
      print("  chmod -R \(floor.wall / 1_000_000), removal and seal \(wall / 1_000_000)")
    }
    func milliseconds(_ percentile: Double) -> Double {
      Double(latency.valueAtPercentile(percentile)) / 1_000_000
    }
    print("  removal and seal to chmod -R: \(decimal(median(ratios))) of the wall time")
    print(
      "  \(latency.totalCount) pings meanwhile: p50 \(decimal(milliseconds(50), 3)) ms, p99 "
        + "\(decimal(milliseconds(99), 3)) ms, max \(decimal(milliseconds(100), 3)) ms")
    guard latency.totalCount >= 100 else {
      throw Unexpected("too few pings were sent while the records were sealed")
    }
    if milliseconds(99) >= Self.latencyLimit {
      SealBenchmark.complain("one ping in a hundred takes \(decimal(Self.latencyLimit, 0)) ms or more")
    }
    if median(ratios) > SealBenchmark.ratioLimit {
      SealBenchmark.complain(
        "they take more than \(decimal(SealBenchmark.ratioLimit, 1)) times what chmod -R does")
    }
    return milliseconds(99) < Self.latencyLimit && median(ratios) <= SealBenchmark.ratioLimit
  }

  /// When a ping was sent, by the wall clock, and how long its answer took, both in nanoseconds.
  private struct Ping {
    let sent: Int64
    let took: Int64
  }

  /// Runs a session, pings until it has ended, and returns its record.
  private func run() throws -> (Record, [Ping]) {
    let connection = try connected(to: socket)
    defer { close(connection) }
    let known = Set(records())
    var pid: pid_t = 0
    let words: [String] = [agentd, "run", "seal", "--json", "--config", config]
    var arguments = words.map { strdup($0) } + [nil]
    defer { for argument in arguments { free(argument) } }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
    guard posix_spawn(&pid, agentd, &actions, nil, &arguments, environ) == 0 else {
      throw Unexpected("\(agentd) does not start")
    }
    var pings: [Ping] = []
    var status: Int32 = 0
    while waitpid(pid, &status, WNOHANG) == 0 {
      pings.append(try ping(over: connection))
      usleep(Self.pause)
    }
    guard status == 0, let new = records().first(where: { !known.contains($0) }) else {
      throw Unexpected("agentd run ended with the wait status \(status)")
    }
    return (Record(path: new), pings)
  }

  private func ping(over connection: Int32) throws -> Ping {
    let line = Request.ping.line
    let (sent, start) = (now(CLOCK_REALTIME), now())
    try checked("write", write(connection, line, line.count))
    var buffer = [UInt8](repeating: 0, count: 1 << 10)
    let count = try checked("read", read(connection, &buffer, buffer.count))
    guard count > 0, buffer[count - 1] == UInt8(ascii: "\n") else {
      throw Unexpected("a ping got no whole answer")
    }
    return Ping(sent: sent, took: now() - start)
  }

  private func records() -> [String] {
    let root = "\(scratch)/audit/seal"
    guard let directory = opendir(root) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) {
        String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
      }
      if !name.hasPrefix(".") { names.append("\(root)/\(name)") }
    }
    return names
  }
}
