// What was measured, as tables, as JSON and as plots, and whether it is as it should be.

import FoundationEssentials
import BenchmarkSupport

/// One run of the benchmark.
struct Results: Codable, Sendable {
  /// A claim about the figures, and whether they bear it out.
  struct Claim: Codable, Sendable {
    var text: String
    var seen: String
    var holds: Bool
  }

  var machine: String
  var engine: String
  var stub: [StubCrowd] = []
  var podman: [PodmanCrowd] = []
  var liveMemory: LiveMemory?
  var claims: [Claim] = []

  /// What the daemon adds to a session, for whoever reads the figures.
  static let definitionOfAdded = """
    Added by the daemon: a session's time from its request to its answer, less the time in which podman works for it (its
    launch, its removal, the question about its image), less the time in which its container may run (from its envelope
    to the end of conmon), less the time in which it waits for its turn (all of podman's places are taken, or a removal
    that it has to wait for is under way). While a place is free the time counts against the session served next. What
    reads the clocks goes before all others, where that is allowed.

    podman works from the moment in which its process has become podman (the end of execve(2)) to the moment in which it
    ends, as the kernel marks them: that it lets others run first is no more the starter's affair than any other wait of
    podman for a processor. The last column has the same by the clock of the program that stands in for podman, which counts such
    waits to the daemon; so does all else where the kernel may not be asked (it takes perf_event_open(2) on all processors).
    """

  // MARK: Claims

  /// RSS in kB that a daemon may have with so many live sessions.
  private static let memoryLimits = [1000: 20 << 10, 3000: 32 << 10, 10_000: 64 << 10]
  private static let processorLimit = 500.0
  /// Of rounds that should be the same: what the allocator may keep from one to the next.
  private static let flatShare = 1.05

  mutating func judge() {
    for crowd in stub { judge(crowd) }
    if let crowd = podman.last {
      claim(
        "\(crowd.sessions) sessions at once: sessions a second beside the floor", "at least 0.9",
        decimal(crowd.ratio, 2), crowd.ratio >= 0.9)
      claim(
        "\(crowd.sessions) sessions at once: p99 of what the daemon adds to one", "below 10 ms",
        "\(decimal(crowd.added.p99, 1)) ms", crowd.added.p99 < 10 && crowd.unseen == 0)
    }
    if let memory = liveMemory {
      let share = (memory.daemonShare + memory.conmonShare) / 1024
      claim(
        "memory beside a live session, daemon and conmon", "below 0.6 MB", "\(decimal(share, 2)) MB",
        share < 0.6)
    }
  }

  private mutating func judge(_ crowd: StubCrowd) {
    let (count, rounds) = (crowd.sessions, crowd.rounds)
    let threads = rounds.flatMap { [$0.live.threads, $0.after.threads] }.max() ?? 0
    claim("\(count) live sessions: threads", "two", "\(threads)", threads == 2)
    if let limit = Self.memoryLimits[count] {
      let most = rounds.map(\.live.residentKilobytes).max() ?? 0
      claim(
        "\(count) live sessions: the daemon's memory (RSS)", "below \(limit >> 10) MB",
        "\(decimal(Double(most) / 1024, 1)) MB", most < limit)
      let beyond = median(rounds.map { $0.processorMicroseconds - $0.spawnMicroseconds })
      claim(
        "\(count) live sessions: processor time of one beyond its spawns", "below 0.5 ms",
        "\(decimal(beyond / 1000, 2)) ms", beyond < Self.processorLimit)
    }
    guard let first = rounds.first, let last = rounds.last, rounds.count > 1 else { return }
    // The second: the first has still to take what it then keeps.
    let early = Double(rounds[1].live.residentKilobytes)
    let late = Double(last.live.residentKilobytes)
    let flat =
      late <= early * Self.flatShare
      && last.after.descriptors == first.after.descriptors && last.after.zombies == 0
    claim(
      "\(count) sessions, \(rounds.count) rounds: memory, descriptors and zombies stay", "flat",
      "\(decimal(late / early, 3)) of the second's memory, \(first.after.descriptors) and "
        + "\(last.after.descriptors) descriptors, \(last.after.zombies) zombies", flat)
  }

  private mutating func claim(_ text: String, _ bound: String, _ seen: String, _ holds: Bool) {
    claims.append(Claim(text: "\(text): \(bound)", seen: seen, holds: holds))
  }

  // MARK: Output

  func printTables() {
    if !stub.isEmpty {
      print("The daemon on the stub engine (times of its own, in milliseconds a session; memory in MB)\n")
      printTable(
        [
          "sessions", "RSS idle", "RSS live", "RSS after", "threads", "descriptors live", "CPU",
          "of it spawns", "start s", "end s",
        ],
        stub.flatMap { crowd in crowd.rounds.map { row(crowd, $0) } })
      print("Short sessions on the stub engine (milliseconds)\n")
      printTable(
        ["sessions at once", "a second", "accepted p50", "accepted p99", "ended p50", "ended p99"],
        stub.map {
          [
            "\($0.sessions)", decimal($0.sessionsPerSecond, 0), decimal($0.accepted.median, 1),
            decimal($0.accepted.p99, 1), decimal($0.finished.median, 1), decimal($0.finished.p99, 1),
          ]
        })
    }
    if !podman.isEmpty {
      print("Sessions on podman beside a bare shell loop (milliseconds)\n")
      printTable(
        [
          "sessions at once", "places", "a second", "floor", "ratio", "added p50", "added p99",
          "floor adds p99",
          "podman run p50", "floor's",
        ],
        podman.map {
          [
            "\($0.sessions)", "\($0.places)", decimal($0.daemonRate, 2), decimal($0.floorRate, 2),
            decimal($0.ratio, 2), decimal($0.added.median, 1), decimal($0.added.p99, 1),
            decimal($0.floorAdded.p99, 1), decimal($0.daemonLaunch.median, 0),
            decimal($0.floorLaunch.median, 0),
          ]
        })
      print("Where it is added (p50 and p99, milliseconds)\n")
      printTable(
        [
          "sessions at once", "before launch", "before release", "before removal", "before answer",
          "all, by the stand-in's clock",
        ],
        podman.map { crowd in
          ["\(crowd.sessions)"]
            + [
              crowd.addedBeforeLaunch, crowd.addedBeforeRelease, crowd.addedBeforeRemoval,
              crowd.addedBeforeAnswer, crowd.addedByStandInsClock ?? crowd.added,
            ].map { "\(decimal($0.median, 1)), \(decimal($0.p99, 1))" }
        })
      print(Self.definitionOfAdded + "\n")
    }
    if let memory = liveMemory {
      print(
        "\(memory.sessions) live sessions on podman: \(decimal(memory.daemonShare, 0)) kB of the daemon and "
          + "\(decimal(memory.conmonShare, 0)) kB of conmon each (PSS)\n")
    }
    printTable(["claim", "seen", ""], claims.map { [$0.text, $0.seen, $0.holds ? "holds" : "FAILS"] })
  }

  private func row(_ crowd: StubCrowd, _ round: StubCrowd.Round) -> [String] {
    func megabytes(_ kilobytes: Int) -> String { decimal(Double(kilobytes) / 1024, 1) }
    return [
      "\(crowd.sessions)", megabytes(crowd.idle.residentKilobytes), megabytes(round.live.residentKilobytes),
      megabytes(round.after.residentKilobytes), "\(round.live.threads)", "\(round.live.descriptors)",
      decimal(round.processorMicroseconds / 1000, 2), decimal(round.spawnMicroseconds / 1000, 2),
      decimal(round.startSeconds, 2), decimal(round.endSeconds, 2),
    ]
  }

  func save(in directory: String) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    let data = try encoder.encode(self)
    try write(String(decoding: data, as: UTF8.self) + "\n", to: "\(directory)/\(engine).json")
    for (name, plot) in plots { try write(plot.svg(), to: "\(directory)/\(engine)-\(name).svg") }
  }

  private var plots: [(String, Plot)] { stub.isEmpty ? podmanPlots : stubPlots }

  private var stubPlots: [(String, Plot)] {
    func points(_ value: (StubCrowd) -> Double) -> [(x: Double, y: Double)] {
      stub.map { (Double($0.sessions), value($0)) }
    }
    let most = { (crowd: StubCrowd) in Double(crowd.rounds.map(\.live.residentKilobytes).max() ?? 0) / 1024 }
    let limits = Self.memoryLimits.filter { limit in stub.contains { $0.sessions == limit.key } }
    return [
      (
        "memory",
        Plot(
          title: "Memory of the daemon, stub engine", xTitle: "live sessions", yTitle: "resident memory, MB",
          series: [
            .init(name: "agentd", points: points(most)),
            .init(
              name: "bound",
              points: limits.sorted { $0.key < $1.key }.map { (Double($0.key), Double($0.value >> 10)) },
              isReference: true),
          ], digits: 1)
      ),
      (
        "processor",
        Plot(
          title: "Processor time of the daemon for a session, stub engine", xTitle: "sessions live at once",
          yTitle: "milliseconds",
          series: [
            .init(
              name: "agentd", points: points { median($0.rounds.map { $0.processorMicroseconds / 1000 }) }),
            .init(
              name: "the bare spawns in it",
              points: points { median($0.rounds.map { $0.spawnMicroseconds / 1000 }) }),
            .init(
              name: "bound",
              points: points {
                (median($0.rounds.map(\.spawnMicroseconds)) + Self.processorLimit) / 1000
              }, isReference: true),
          ], digits: 2)
      ),
      (
        "throughput",
        Plot(
          title: "Short sessions a second, stub engine", xTitle: "sessions asked for at once",
          yTitle: "sessions a second", series: [.init(name: "agentd", points: points(\.sessionsPerSecond))])
      ),
      (
        "latency",
        Plot(
          title: "From request to answer, stub engine", xTitle: "sessions asked for at once",
          yTitle: "milliseconds",
          series: [
            .init(name: "ended, p99", points: points(\.finished.p99)),
            .init(name: "ended, median", points: points(\.finished.median)),
            .init(name: "accepted, p99", points: points(\.accepted.p99)),
          ], isLogarithmic: true)
      ),
    ]
  }

  private var podmanPlots: [(String, Plot)] {
    func points(_ value: (PodmanCrowd) -> Double) -> [(x: Double, y: Double)] {
      podman.map { (Double($0.sessions), value($0)) }
    }
    return [
      (
        "throughput",
        Plot(
          title: "Sessions a second, podman", xTitle: "sessions asked for at once",
          yTitle: "sessions a second",
          series: [
            .init(name: "agentd", points: points(\.daemonRate)),
            .init(name: "the same calls by a bare shell loop", points: points(\.floorRate)),
          ], digits: 1)
      ),
      (
        "latency",
        Plot(
          title: "What a session takes and what the daemon adds, podman",
          xTitle: "sessions asked for at once",
          yTitle: "milliseconds",
          series: [
            .init(name: "request to answer, median", points: points(\.total.median)),
            .init(name: "added by agentd, p99", points: points(\.added.p99)),
            .init(name: "added by agentd, median", points: points(\.added.median)),
          ], digits: 1, isLogarithmic: true)
      ),
    ]
  }
}
