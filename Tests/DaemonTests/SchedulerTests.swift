// The scheduler against a server that stands for the daemon, by a clock that stands still.

import Control
import Cron
import Glibc
import Logging
import Profiles
import Reactor
import TestSupport
import Testing
import Time

@testable import Daemon

@Suite("Scheduler")
struct SchedulerTests {
  init() { LoopThread.start() }

  @Test("an occurrence becomes a detached request that names it") @Loop
  func dispatch() async throws {
    let world = try World([.init("worker", "@yearly")])
    defer { world.close() }
    try await world.start()
    await world.log.wait(for: "agentd.scheduled_run_dispatched")
    #expect(
      world.requests == [
        .run(
          invocation: InvocationRequest(
            profile: "worker", repository: nil, workUnit: nil, timeoutMilliseconds: nil, detach: true,
            scheduledFor: world.moment.rfc3339))
      ])
    let facts = try #require(world.log["agentd.scheduled_run_dispatched"].first)
    #expect(facts["profile"] == "worker")
    #expect(facts["session_id"] == "0123456789abcdef")
    #expect(facts["scheduled_for"] == world.moment.rfc3339)
    #expect(facts["lateness_us"].flatMap { UInt64($0) } != nil)
  }

  @Test("profiles that are due at one instant start in the order of the file, and one's refusal is its own")
  @Loop
  func independent() async throws {
    let names = (0..<100).map { "p\($0)" }
    let world = try World(names.map { .init($0, "@yearly") }) { request in
      guard case .run(let invocation) = request, invocation.profile != "p50" else {
        return .refused(reason: "No.")
      }
      return .accepted(session: .init(id: "0123456789abcdef", record: "r", consoleLog: "c"))
    }
    defer { world.close() }
    try await world.start()
    await world.log.wait(for: "agentd.scheduled_run_dispatched", 99)
    await world.log.wait(for: "agentd.scheduled_run_dispatch_failed")
    #expect(world.profiles == names)
    let failed = try #require(world.log["agentd.scheduled_run_dispatch_failed"].first)
    #expect(failed["profile"] == "p50")
    #expect(failed["reason"] == "No.")
    #expect(world.log["agentd.scheduled_run_dispatch_failed"].count == 1)
  }

  @Test("what was missed is counted and logged, and only what is due now is run") @Loop
  func missed() async throws {
    let world = try World([.init("worker", "@yearly")])
    defer { world.close() }
    world.now = try #require(Timestamp(rfc3339: "2010-01-01T00:00:01Z"))
    try await world.start(thenShowing: world.moment)
    await world.log.wait(for: "agentd.scheduled_run_dispatched")
    let missed = try #require(world.log["agentd.schedule_missed"].first)
    #expect(missed["profile"] == "worker")
    #expect(missed["first"] == "2011-01-01T00:00:00.000Z")
    #expect(missed["missed"].flatMap { Int64($0) } == world.year - 2011)
    #expect(world.requests.count == 1)
  }

  @Test("with overlap = skip an occurrence is left out while a scheduled session of the profile lives") @Loop
  func skip() async throws {
    let world = try World([.init("worker", "@yearly", overlap: .skip)]) { _ in
      .sessions(sessions: [.live(of: "other", isScheduled: true), .live(of: "worker", isScheduled: true)])
    }
    defer { world.close() }
    try await world.start()
    await world.log.wait(for: "agentd.schedule_skipped")
    #expect(world.requests == [.list])
    #expect(world.log["agentd.schedule_skipped"].first?["running_session_id"] == "worker-true")
  }

  @Test("with overlap = skip a session that somebody began by hand does not count") @Loop
  func skipCountsScheduledOnly() async throws {
    let world = try World([.init("worker", "@yearly", overlap: .skip)]) { request in
      guard case .list = request else {
        return .accepted(session: .init(id: "0123456789abcdef", record: "r", consoleLog: "c"))
      }
      return .sessions(sessions: [.live(of: "worker", isScheduled: false)])
    }
    defer { world.close() }
    try await world.start()
    await world.log.wait(for: "agentd.scheduled_run_dispatched")
    #expect(world.requests.count == 2)
  }

  @Test("without a daemon to answer, the dispatch fails and says why") @Loop
  func nobody() async throws {
    let world = try World([.init("worker", "@yearly")])
    defer { world.close() }
    world.server.close()
    try await world.start()
    await world.log.wait(for: "agentd.scheduled_run_dispatch_failed")
    let reason = world.log["agentd.scheduled_run_dispatch_failed"].first?["reason"]
    #expect(reason?.contains("No daemon listens") == true)
  }

  @Test("an occurrence whose predecessor has had no answer yet is not begun") @Loop
  func slowAnswer() async throws {
    let answer = Latch()
    let world = try World([.init("worker", "@yearly")], before: { await answer.wait() })
    defer { world.close() }
    try await world.start()
    await world.arrived.wait()
    await world.scheduler.dispatch(0, try #require(world.scheduler.next(of: "worker")))
    #expect(world.log["agentd.scheduled_run_dispatch_failed"].count == 1)
    answer.open()
    await world.log.wait(for: "agentd.scheduled_run_dispatched")
    #expect(world.requests.count == 1)
  }

  @Test("occurrences go on while the worker waits for a disk that hangs") @Loop
  func hangingDisk() async throws {
    let world = try World([.init("worker", "@yearly")])
    defer { world.close() }
    world.now = world.moment - .seconds(1)
    try await world.start()
    var ends: [Int32] = [0, 0]
    try #require(pipe(&ends) == 0)
    let disk = Descriptor(owning: ends[0])
    let end = Descriptor(owning: ends[1])
    let raw = disk.raw
    let hanging = Loop.spawn {
      await world.worker.run {
        var byte: UInt8 = 0
        _ = read(raw, &byte, 1)
      }
    }
    await Loop.yield()
    // A wake-up that has nothing to fire and looks at the zones, as the clock of the machine is ahead.
    let looks = world.looks
    while world.looks == looks { await Loop.yield() }
    world.now = world.moment
    await world.log.wait(for: "agentd.scheduled_run_dispatched")
    #expect(world.requests.count == 1)
    var byte: UInt8 = 0
    #expect(write(end.raw, &byte, 1) == 1)
    await hanging.value
  }

  @Test("an occurrence that had to wait for more than its minute is missed, not begun late") @Loop
  func waitedTooLong() async throws {
    let world = try World([.init("worker", "@yearly")])
    defer { world.close() }
    try await world.start()
    await world.log.wait(for: "agentd.scheduled_run_dispatched")
    let next = try #require(world.scheduler.next(of: "worker"))
    world.now = next.due + .milliseconds(59_999)
    await world.scheduler.dispatch(0, next)
    #expect(world.requests.count == 2)
    world.now = next.due + .seconds(60)
    await world.scheduler.dispatch(0, next)
    #expect(world.requests.count == 2)
    let missed = world.log["agentd.schedule_missed"]
    #expect(missed.count == 1)
    #expect(missed.first?["missed"] == "1")
    #expect(missed.first?["first"] == next.moment.rfc3339)
  }

  @Test("zones that were read before the clock was right are read again") @Loop
  func clockOfTheEpoch() async throws {
    let epoch = Timestamp(secondsSinceEpoch: 0)
    let world = try World([.init("worker", "@yearly", timezone: "Europe/Berlin")], zonesReadAt: epoch)
    defer { world.close() }
    #expect(world.moment > epoch + SystemZone.horizon)
    try await world.start()
    #expect(world.scheduler.next(of: "worker") != nil)
    #expect(world.log["agentd.timezone_changed"].count == 1)
  }

  @Test("a scheduler that was stopped fires nothing, also when it was about to") @Loop
  func stopped() async throws {
    let world = try World([.init("worker", "@yearly")])
    defer { world.close() }
    world.now = world.moment - .seconds(1)
    try await world.start()
    world.now = world.moment
    // The timer goes by the clock of the machine: its moment has passed.
    world.scheduler.stop()
    await world.scheduler.dispatch(0, try #require(world.scheduler.next(of: "worker")))
    // What the server would have been asked by now, it has been asked before this answer.
    let client = try await Client.connect(to: world.server.path)
    defer { client.close() }
    try await client.send(.stop(session: "last"))
    _ = try await client.next()
    #expect(world.requests == [.stop(session: "last")])
  }

  @Test("a zone whose file has changed is read again, and occurrences are found anew", .exitTest)
  func zoneChanged()
    async
  {
    await #expect(processExitsWith: .success) {
      LoopThread.start()
      try await changeZone()
    }
  }
}

/// A process of its own: TZDIR belongs to all of it.
@Loop private func changeZone() async throws {
  let scratch = Scratch()
  defer { scratch.remove() }
  setenv("TZDIR", scratch.path, 1)
  func place(_ zone: String) throws {
    try copy("/usr/share/zoneinfo/\(zone)", to: "\(scratch.path)/new")
    guard rename("\(scratch.path)/new", "\(scratch.path)/Place") == 0 else {
      throw CallFailed("rename", errno)
    }
  }
  try place("Asia/Tokyo")
  let world = try World([.init("every", "@yearly"), .init("noon", "0 12 * * *", timezone: "Place")])
  defer { world.close() }
  try await world.start()
  // The stamps are taken by now; this is found by the wake-up that fires `every`.
  try place("Asia/Kolkata")
  await world.log.wait(for: "agentd.timezone_changed")
  let next = try #require(world.scheduler.next(of: "noon"))
  #expect(next.moment.rfc3339.hasSuffix("T06:30:00.000Z"))
}

/// A clock that shows what it was set to.
@Loop
private final class Clock {
  var now: Timestamp
  /// How often it was looked at.
  private(set) var looks = 0

  init(_ now: Timestamp) { self.now = now }

  func look() -> Timestamp {
    looks += 1
    return now
  }
}

/// A scheduler, and a server that answers it.
@Loop
private final class World {
  struct Member {
    let name: String
    let expression: String
    let overlap: ScheduledRuns.Overlap
    let timezone: String?

    init(
      _ name: String, _ expression: String, overlap: ScheduledRuns.Overlap = .allow, timezone: String? = nil
    ) {
      self.name = name
      self.expression = expression
      self.overlap = overlap
      self.timezone = timezone
    }
  }

  let scratch = Scratch()
  let log = Events()
  let scheduler: Scheduler
  let worker: Worker
  /// The year that the clock of the machine shows, so that the timer never waits for what has passed.
  let year = CivilDate(daysSinceEpoch: Loop.wallClock.secondsSinceEpoch / 86_400).year
  /// An occurrence of `@yearly`, the last one.
  let moment: Timestamp
  private let clock: Clock
  /// What the scheduler's clock shows.
  var now: Timestamp {
    get { clock.now }
    set { clock.now = newValue }
  }
  /// How often the scheduler has looked at it.
  var looks: Int { clock.looks }
  private(set) var requests: [Request] = []
  /// Whether a request has come.
  let arrived = Latch()
  private let members: Int
  private(set) var server: (path: String, close: @Loop () -> Void)

  var profiles: [String] {
    requests.compactMap { request in
      guard case .run(let invocation) = request else { return nil }
      return invocation.profile
    }
  }

  init(
    _ members: [Member],
    answer: @escaping @Loop (Request) -> Reply = { _ in
      .accepted(session: .init(id: "0123456789abcdef", record: "r", consoleLog: "c"))
    },
    before: @escaping @Loop () async -> Void = {}, zonesReadAt: Timestamp? = nil
  ) throws {
    self.members = members.count
    let path = "\(scratch.path)/agentd.sock"
    server = (path, {})
    let start = CivilDate(firstOf: 1, in: year)
    moment = Timestamp(secondsSinceEpoch: start.daysSinceEpoch * 86_400)
    let moment = moment
    let profiles = try members.map { member in
      let zone = try member.timezone.map { try SystemZone($0, around: zonesReadAt ?? moment) }
      return Profile(
        name: member.name, baseImage: "i", methodologyDirectory: "/m", command: ["c"],
        schedule: ScheduledRuns(
          schedule: Schedule(
            name: member.name, expression: try CronExpression(member.expression), zone: zone?.zone ?? .utc),
          // Never local time, which would be this machine's.
          timezone: member.timezone ?? "UTC", zoneFile: zone?.file, overlap: member.overlap))
    }
    let log = log
    let worker = try Worker()
    self.worker = worker
    let clock = Clock(moment)
    self.clock = clock
    scheduler = Scheduler(
      profiles, socketPath: path, worker: worker,
      log: Logger(label: "agentd", factory: { _ in EventRecorder(log) }), clock: { clock.look() })
    let server = try Server(path: path, owner: geteuid(), onRefusal: { Issue.record("\($0)") }) {
      [weak self] connection, request in
      self?.requests.append(request)
      self?.arrived.open()
      await before()
      await connection.send(answer(request))
    }
    self.server.close = { server.close() }
  }

  /// Starts the scheduler; whatever it does after that, it does at another time if one is given.
  func start(thenShowing later: Timestamp? = nil) async throws {
    let starting = Loop.spawn {
      do throws(SystemError) {
        try await self.scheduler.start()
      } catch {
        Issue.record(error)
      }
    }
    // The scheduler has looked at the clock before it waits for anything.
    await Loop.yield()
    if let later { now = later }
    await starting.value
  }

  func close() {
    scheduler.stop()
    server.close()
    scratch.remove()
  }
}

extension LiveSession {
  fileprivate static func live(of profile: String, isScheduled: Bool) -> LiveSession {
    LiveSession(
      id: "\(profile)-\(isScheduled)", profile: profile, phase: "command", ageMilliseconds: 1,
      repository: "r",
      isScheduled: isScheduled)
  }
}

private func copy(_ source: String, to target: String) throws {
  let from = Descriptor(owning: open(source, O_RDONLY | O_CLOEXEC))
  let to = Descriptor(owning: open(target, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600))
  var buffer = [UInt8](repeating: 0, count: 1 << 20)
  let count = read(from.raw, &buffer, buffer.count)
  guard count > 0, write(to.raw, buffer, count) == count else { throw CallFailed("copy", errno) }
}
