// Crowds of sessions on the real podman, beside a bare shell loop that makes the same calls.

import Control
import Glibc
import Reactor

/// What was seen with one number of sessions.
struct PodmanCrowd: Codable, Sendable {
  var sessions: Int
  var places: Int
  /// One figure a round; the rounds of the two take turns.
  var daemonSeconds: [Double] = []
  var floorSeconds: [Double] = []
  /// Over all rounds, in milliseconds: what the daemon adds to a session, and from request to end.
  var added = Percentiles([])
  /// The same by the clock of the program that stands in for podman; nil where `added` is that already.
  var addedByStandInsClock: Percentiles?
  /// The parts of it: from the request, the launch, the container's end, and the removal.
  var addedBeforeLaunch = Percentiles([])
  var addedBeforeRelease = Percentiles([])
  var addedBeforeRemoval = Percentiles([])
  var addedBeforeAnswer = Percentiles([])
  var total = Percentiles([])
  var floorAdded = Percentiles([])
  /// Sessions of which `added` is not known.
  var unseen = 0
  /// What podman's calls took under each, in milliseconds.
  var daemonLaunch = Percentiles([])
  var floorLaunch = Percentiles([])

  var daemonRate: Double { Double(sessions) / median(daemonSeconds) }
  var floorRate: Double { Double(sessions) / median(floorSeconds) }
  var ratio: Double { daemonRate / floorRate }
}

/// What a live session costs in memory, in kB, as shares of what processes have in common (PSS).
struct LiveMemory: Codable, Sendable {
  var sessions: Int
  var idleDaemon: Int
  var liveDaemon: Int
  var conmons: Int
  var daemonShare: Double { Double(liveDaemon - idleDaemon) / Double(sessions) }
  var conmonShare: Double { Double(conmons) / Double(sessions) }
}

@Loop
struct PodmanCrowds {
  private static let floorPatience: Duration = .seconds(600)
  /// How long what the kernel tells may take to be written down.
  private static let timesPatience: Duration = .seconds(10)

  let options: Options

  func measure(_ count: Int, rounds: Int) async throws -> PodmanCrowd {
    let daemon = try await BenchDaemon.start("podman-\(count)", command: ["/bin/true"], options)
    do {
      // The first asks podman for the image, which is then known.
      try await Load(1, of: daemon).waitUntilFinished()
      var crowd = PodmanCrowd(sessions: count, places: 0)
      var added: [PodmanCalls.Added] = []
      var addedByStandInsClock: [UInt64] = []
      var total: [UInt64] = []
      var floorAdded: [UInt64] = []
      var daemonLaunch: [UInt64] = []
      var floorLaunch: [UInt64] = []
      for round in 0..<rounds {
        let known = daemon.calls.utf8.count
        let load = Load(count, of: daemon)
        try await load.waitUntilFinished()
        let text = {
          let text = daemon.calls
          return text[text.utf8.index(text.startIndex, offsetBy: known)...]
        }
        let calls = try await calls(in: text)
        let unconfirmed = PodmanCalls(parsing: text(), times: nil)
        crowd.places = max(crowd.places, calls.places)
        let first = load.served.map(\.asked).min() ?? 0
        crowd.daemonSeconds.append(Double((load.served.map(\.finished).max() ?? 0) - first) / 1e9)
        total += load.served.map { $0.finished - $0.asked }
        daemonLaunch += calls.durations(of: "run")
        for one in load.served {
          let own = calls.added(to: one.id, asked: one.asked, finished: one.finished, places: crowd.places)
          let byStandInsClock = unconfirmed.added(
            to: one.id, asked: one.asked, finished: one.finished, places: crowd.places)
          if let byStandInsClock { addedByStandInsClock.append(byStandInsClock.sum) }
          if let own { added.append(own) } else { crowd.unseen += 1 }
        }
        let floor = try await self.floor(count, places: crowd.places, round: round)
        crowd.floorSeconds.append(floor.seconds)
        floorAdded += floor.added
        floorLaunch += floor.calls.durations(of: "run")
      }
      try await daemon.stop()
      crowd.added = Percentiles(added.map(\.sum))
      crowd.addedByStandInsClock = options.times == nil ? nil : Percentiles(addedByStandInsClock)
      crowd.addedBeforeLaunch = Percentiles(added.map(\.beforeLaunch))
      crowd.addedBeforeRelease = Percentiles(added.map(\.beforeRelease))
      crowd.addedBeforeRemoval = Percentiles(added.map(\.beforeRemoval))
      crowd.addedBeforeAnswer = Percentiles(added.map(\.beforeAnswer))
      crowd.total = Percentiles(total)
      crowd.floorAdded = Percentiles(floorAdded)
      crowd.daemonLaunch = Percentiles(daemonLaunch)
      crowd.floorLaunch = Percentiles(floorLaunch)
      return crowd
    } catch {
      daemon.abandon()
      throw error
    }
  }

  /// What was written down, once the kernel has told of all of it.
  private func calls(in text: () -> Substring) async throws -> PodmanCalls {
    guard let times = options.times else { return PodmanCalls(parsing: text(), times: nil) }
    let deadline = Loop.now + Self.timesPatience
    while Loop.now < deadline {
      let calls = PodmanCalls(parsing: text(), times: contents(of: times))
      if calls.isConfirmed { return calls }
      await Timer.sleep(.milliseconds(20))
    }
    throw Complaint("the kernel does not tell when podman began: \(times)")
  }

  private func floor(
    _ count: Int, places: Int, round: Int
  ) async throws -> (seconds: Double, added: [UInt64], calls: PodmanCalls) {
    let directory = "\(options.scratch)/floor-\(count)-\(round)"
    mkdir(directory, 0o700)
    let sessions = (0..<count).map { FloorSession(in: "\(directory)/\($0)", number: $0, options) }
    for session in sessions { try session.prepare() }
    var environment = inherited([
      "HOME", "XDG_RUNTIME_DIR", "CONTAINERS_CONF", "CONTAINERS_CONF_OVERRIDE", "BENCH_PODMAN",
    ])
    environment += [
      "PATH=\(options.podman):\(options.tools):/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      "BENCH_LOG=\(directory)-calls", "STUB_STATE=\(options.scratch)",
    ]
    let began = Loop.now.nanoseconds
    let result = try await Command(
      executable: options.floor, arguments: [directory, "\(places)"], environment: environment,
      deadline: Self.floorPatience
    ).run()
    let words = String(decoding: result.standardOutput, as: UTF8.self).split(separator: "\n")
    let calls = try await calls { contents(of: "\(directory)-calls")[...] }
    guard result.succeeded, let seconds = words.last.flatMap({ Double($0) }),
      calls.gone.count == count,
      sessions.allSatisfy({ contents(of: "\($0.directory)/report").contains("command\n") })
    else {
      throw Complaint(
        "the floor failed: " + String(decoding: result.standardError.suffix(1000), as: UTF8.self))
    }
    let added = sessions.compactMap { session -> UInt64? in
      let name = "\(session.launch.name)"
      guard let end = calls.calls.last(where: { $0.verb == "rm" && $0.names.contains(name) })?.ended else {
        return nil
      }
      return calls.added(to: name, asked: began, finished: end, places: places)?.sum
    }
    return (seconds, added, calls)
  }

  func liveMemory(_ count: Int) async throws -> LiveMemory {
    let daemon = try await BenchDaemon.start("live", command: ["/bin/sleep", "3600"], options)
    do {
      let idle = ProcessFigures(of: daemon.pid).proportionalKilobytes
      let load = Load(count, of: daemon)
      try await load.waitUntilAccepted()
      let client = try await Client.connect(to: daemon.socketPath)
      defer { client.close() }
      while true {
        try await client.send(.list)
        guard case .sessions(let live) = try await client.next() else {
          throw Complaint("no list of sessions")
        }
        guard live.count == count else { throw Complaint("\(live.count) of \(count) sessions live") }
        if live.allSatisfy({ $0.phase == "command" }) { break }
        await Timer.sleep(.milliseconds(100))
      }
      let id = names(in: daemon.runtime).first { $0.count == 8 } ?? ""
      let conmons = processes(whoseWordsHold: "agentd-\(id)-bench-").filter {
        contents(of: "/proc/\($0)/comm") == "conmon\n"
      }
      guard conmons.count == count else { throw Complaint("\(conmons.count) conmons of \(count) sessions") }
      let memory = LiveMemory(
        sessions: count, idleDaemon: idle, liveDaemon: ProcessFigures(of: daemon.pid).proportionalKilobytes,
        conmons: conmons.map { ProcessFigures.proportionalKilobytes(of: $0) }.reduce(0, +))
      for session in load.served {
        try await client.send(.stop(session: session.id))
        _ = try await client.next()
      }
      try await daemon.stop()
      return memory
    } catch {
      daemon.abandon()
      throw error
    }
  }
}
