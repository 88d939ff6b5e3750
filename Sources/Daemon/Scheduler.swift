// Runs profiles on their schedules: asks the wheel what is due, and the daemon, as its client, for a session.

internal import Control
internal import Cron
internal import Logging
internal import Profiles
internal import Reactor
internal import Time

/// The schedules of one configuration while the daemon is up.
///
/// It sleeps on one timer until the next occurrence, whatever their number. Times are the caller's and the timer's: an
/// occurrence is decided by the wheel, which reads no clock.
@Loop
final class Scheduler {
  /// Conversations with the daemon's own socket at once, so that a crowd of occurrences at one instant leaves half of
  /// the server's connections to other clients.
  private static let conversationLimit = Server.connectionLimit / 2
  /// Events handled before everything else on the loop has its turn: as many as may be asked for at once, so that the
  /// last of a crowd is asked for before the first of it costs the loop the start of its session.
  private static let eventBatch = conversationLimit
  /// How far the clock may be from where the zones were read before they are read again: behind it, where a zone is
  /// known for two days, and before it, where enough must be left for the rarest expression.
  private static let zoneSlack: (behind: Duration, ahead: Duration) = (
    .seconds(86_400), .seconds(8 * 365 * 86_400)
  )

  /// A profile that runs by itself.
  private struct Member {
    let profile: String
    let runs: ScheduledRuns
    /// Whether the last occurrence has had no answer yet.
    var isAsking = false
  }

  /// Where the zone of some profiles comes from, and which version of it is in use.
  private struct ZoneSource: Hashable {
    let timezone: String?
    let file: String?

    /// For the log.
    var name: String { timezone ?? "local" }
  }

  private let socketPath: String
  private let worker: Worker
  private let log: Logger
  private let clock: @Loop () -> Timestamp
  private var members: [Member]
  /// Where the zones of all members come from.
  private let sources: Set<ZoneSource>
  private var wheel: Wheel
  private var stamps: [ZoneSource: SystemZone.Stamp?] = [:]
  private var zonesReadAt: Timestamp
  private let gate = Semaphore(permits: conversationLimit)
  private var timer: WallTimer?
  private var isAtWork = false
  private var isReadingZones = false
  private var clockWasSet = false
  private var isStopped = false

  /// Nothing happens before `start`.
  ///
  /// - Parameters:
  ///   - profiles: those without a schedule are left out.
  ///   - socketPath: where the daemon listens.
  ///   - clock: what occurrences are decided by; the timer always goes by the wall clock.
  init(
    _ profiles: [Profile], socketPath: String, worker: Worker, log: Logger,
    clock: @escaping @Loop () -> Timestamp = { Loop.wallClock }
  ) {
    self.socketPath = socketPath
    self.clock = clock
    self.worker = worker
    self.log = log
    let members = profiles.compactMap { profile in
      profile.schedule.map { Member(profile: profile.name, runs: $0) }
    }
    self.members = members
    sources = Set(members.map { ZoneSource(timezone: $0.runs.timezone, file: $0.runs.zoneFile) })
    // Not simply now: a machine that boots without a clock may have been told the time since they were read.
    zonesReadAt = members.map { $0.runs.schedule.zone.end - SystemZone.horizon }
      .reduce(clock()) { min($0, $1) }
    wheel = Wheel([], at: clock())
  }

  /// Begins with the occurrences from now on. The daemon must listen by then.
  func start() async throws(SystemError) {
    guard !members.isEmpty, !isStopped else { return }
    // The timer is closed before this goes.
    timer = try WallTimer { [unowned self] in wake($0) }
    wheel = Wheel(members.map(\.runs.schedule), at: clock())
    timer?.set(wheel.due)
    log.info(
      "agentd.scheduler_started",
      metadata: [
        "profiles": .stringConvertible(members.count),
        "next": "\(wheel.due.map(\.rfc3339) ?? "never")",
      ])
    // Armed before: no occurrence waits for a disk that hangs, and no zone is compared with what is not known yet.
    isReadingZones = true
    stamps = await readStamps()
    isReadingZones = false
    // Where the zones were read before the clock was right there may be no wake-up to do it.
    await refreshZones()
  }

  /// The next occurrence of a profile; nil when it has none.
  func next(of profile: String) -> Schedule.Occurrence? {
    members.firstIndex { $0.profile == profile }.flatMap { wheel.pending($0) }
  }

  /// Fires nothing from now on. What was asked for already is answered by the daemon.
  func stop() {
    isStopped = true
    timer?.close()
    timer = nil
  }

  isolated deinit { stop() }

  // MARK: Events

  private func wake(_ event: WallTimer.Event) {
    if event == .clockSet { clockWasSet = true }
    guard !isAtWork else { return }
    isAtWork = true
    Loop.spawn { await self.work() }
  }

  private func work() async {
    repeat {
      if clockWasSet {
        clockWasSet = false
        wheel.clockWasSet(to: clock())
      }
      var handled = 0
      while !isStopped, let event = wheel.takeEvent(at: clock()) {
        handle(event)
        handled += 1
        if handled % Self.eventBatch == 0 { await Loop.yield() }
      }
    } while clockWasSet && !isStopped
    isAtWork = false
    timer?.set(wheel.due)
    // Armed before, so that no occurrence waits for a disk that hangs.
    await refreshZones()
  }

  private func handle(_ event: Wheel.Event) {
    switch event {
    case .fired(let index, let occurrence):
      Loop.spawn { await self.dispatch(index, occurrence) }
    case .missed(let index, let count, let first): miss(members[index], count, first: first)
    }
  }

  private func miss(_ member: Member, _ count: Int, first: Timestamp) {
    log.warning(
      "agentd.schedule_missed",
      metadata: [
        "profile": "\(member.profile)", "missed": .stringConvertible(count), "first": "\(first.rfc3339)",
      ])
  }

  // MARK: Dispatch

  /// Asks the daemon for the session of one occurrence, as `agentd run --detach` would.
  func dispatch(_ index: Int, _ occurrence: Schedule.Occurrence) async {
    guard !members[index].isAsking else {
      return refuse(
        index, occurrence, "The occurrence before it has had no answer yet: see whether the disk hangs.")
    }
    members[index].isAsking = true
    defer { members[index].isAsking = false }
    do throws(ClientError) {
      try await gate.withPermit { () async throws(ClientError) in try await ask(index, occurrence) }
    } catch {
      refuse(index, occurrence, error.description)
    }
  }

  private func ask(_ index: Int, _ occurrence: Schedule.Occurrence) async throws(ClientError) {
    guard !isStopped else { return }
    let member = members[index]
    let client = try await Client.connect(to: socketPath)
    defer { client.close() }
    if member.runs.overlap == .skip, let session = try await liveSession(of: member.profile, client) {
      log.info(
        "agentd.schedule_skipped",
        metadata: facts(of: member, occurrence, ["running_session_id": "\(session)"]))
      return
    }
    let lateness = clock() - occurrence.due
    // It has waited for others, which may have waited for the disk.
    guard lateness < Wheel.grace else { return miss(member, 1, first: occurrence.moment) }
    try await client.send(
      .run(
        invocation: InvocationRequest(
          profile: member.profile, repository: nil, workUnit: nil, timeoutMilliseconds: nil, detach: true,
          scheduledFor: occurrence.moment.rfc3339)))
    switch try await client.next() {
    case .accepted(let session):
      log.info(
        "agentd.scheduled_run_dispatched",
        metadata: facts(
          of: member, occurrence,
          [
            "session_id": "\(session.id)",
            "lateness_us": .stringConvertible(lateness.wholeNanoseconds / 1000),
          ]))
    case .refused(let reason), .busy(let reason): refuse(index, occurrence, reason)
    case .finished, .sessions, .described, .done:
      refuse(index, occurrence, "The daemon gave another answer than was asked for.")
    }
  }

  /// A session that an earlier occurrence began. The daemon is asked, because it knows also of sessions that an earlier
  /// daemon began.
  private func liveSession(of profile: String, _ client: Client) async throws(ClientError) -> String? {
    try await client.send(.list)
    guard case .sessions(let sessions) = try await client.next() else {
      throw .failed("The daemon gave another answer than its list of sessions.")
    }
    return sessions.first { $0.profile == profile && $0.isScheduled }?.id
  }

  private func refuse(_ index: Int, _ occurrence: Schedule.Occurrence, _ reason: String) {
    log.warning(
      "agentd.scheduled_run_dispatch_failed",
      metadata: facts(of: members[index], occurrence, ["reason": "\(reason)"]))
  }

  private func facts(
    of member: Member, _ occurrence: Schedule.Occurrence, _ more: Logger.Metadata
  ) -> Logger.Metadata {
    let facts: Logger.Metadata = [
      "profile": "\(member.profile)", "scheduled_for": "\(occurrence.moment.rfc3339)",
    ]
    return facts.merging(more) { $1 }
  }

  // MARK: Zones

  private func readStamps() async -> [ZoneSource: SystemZone.Stamp?] {
    await worker.run { [sources] in
      Dictionary(uniqueKeysWithValues: sources.map { ($0, $0.file.flatMap { SystemZone.stamp(of: $0) }) })
    }
  }

  /// Reads zones again whose files have changed, as when tzdata was brought up to date or the machine's zone was set,
  /// and zones whose knowledge no longer fits the clock. Looked at after each wake-up, so that none is needed for it.
  private func refreshZones() async {
    guard !isReadingZones, !isStopped else { return }
    isReadingZones = true
    defer { isReadingZones = false }
    let found = await readStamps()
    let now = clock()
    let age = now - zonesReadAt
    let isOutgrown = age < .zero - Self.zoneSlack.behind || age > Self.zoneSlack.ahead
    if isOutgrown { zonesReadAt = now }
    var fresh: [ZoneSource: Zone] = [:]
    for source in sources where isOutgrown || found[source] != stamps[source] {
      stamps[source] = found[source]
      fresh[source] = read(source, around: now)
      // Each takes milliseconds, and a new tzdata changes all of them.
      await Loop.yield()
    }
    guard !fresh.isEmpty, !isStopped else { return }
    wheel.replaceZones(at: clock()) { index in
      fresh[ZoneSource(timezone: members[index].runs.timezone, file: members[index].runs.zoneFile)]
    }
    // Otherwise the work that is under way sets it.
    if !isAtWork { timer?.set(wheel.due) }
    for source in fresh.keys {
      log.info("agentd.timezone_changed", metadata: ["timezone": "\(source.name)"])
    }
  }

  private func read(_ source: ZoneSource, around now: Timestamp) -> Zone? {
    do throws(SystemZone.Failure) {
      return try SystemZone(source.timezone, around: now).zone
    } catch {
      log.warning(
        "agentd.timezone_changed",
        metadata: ["timezone": "\(source.name)", "reason": "It \(error). The old one is kept."])
      return nil
    }
  }
}
