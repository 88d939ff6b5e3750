// One session: what is known of it, and the order of its life from where it begins in this daemon.

public import Audit
internal import Engine
internal import Logging
internal import Profiles
public import Reactor
internal import Time

/// A session that was accepted, by this daemon or by an earlier one. It ends by itself, or by `stop`, or by its
/// deadline; its record is sealed then.
@Loop
public final class Session {
  /// Where its life begins in this daemon.
  enum Beginning {
    /// It waits for its turn. Nothing of it has been started, and it holds no descriptor and no secret.
    case queued
    /// Nothing of it has been started.
    case prepared
    /// An earlier daemon released its container, which runs, or ends, or has ended.
    case released(HeldContainer)
    /// How it ended is known; what is left of it is to be removed.
    case ended(Ending, at: Timestamp?)
  }

  /// Its id.
  public let id: SessionID
  /// Its record on disk.
  public var record: Record { Record(path: facts.record) }
  /// When it was accepted.
  public let accepted: Instant
  /// What it is doing.
  public private(set) var phase: SessionPhase
  /// The name of its profile.
  public var profile: String { facts.origin.metadata.profile }
  /// The repository it works on.
  public var repository: String { facts.origin.metadata.repoURL }
  /// Whether the profile's schedule began it.
  public var isScheduled: Bool { facts.origin.metadata.scheduledFor != nil }

  let host: SessionHost
  let containerName: ContainerName
  let beginning: Beginning
  var facts: Facts
  /// What it was asked for, until it is released. Not in the session itself, where its place would stay taken.
  private var pending: Pending?
  /// The FIFO that it is released through, from its release until its container has read from it or has ended.
  var envelope: Stream?
  /// Whether it waits for its turn to have its container started.
  public internal(set) var awaitsStart = false
  /// Whether podman was asked for its container, by whichever daemon.
  var isLaunched: Bool
  /// When its container ended; nil for now.
  var endTime: Timestamp?
  /// Where its facts are.
  var place: Journal.Place
  /// Whether the envelope has been written, all of it.
  var isWritten = false
  /// Whether the container has shown that it reads its envelope.
  var holdsEnvelope = false
  /// How far its setup came, as it was last seen; nil before anybody looked.
  var report: SetupReport?
  /// Whether its container was seen to have ended.
  var isOver = false
  /// The waiting until its record is on the disk as it was made; nil where nobody has begun it in this daemon.
  var synchronization: Synchronization?
  /// Whether its record is known to be on the disk as it was made.
  var isOnDisk: Bool { synchronization?.isOnDisk == true }
  /// The sealing that was begun beside the removal of its container.
  var earlySeal: Task<Sealed, Never>?
  /// Whether nobody writes into its record any more: all processes of its container have ended, and so has conmon.
  var isQuiet = false
  /// Whether it goes on without a daemon: released, all of it, and not seen to have ended.
  public internal(set) var canBeLeft = false {
    didSet { if canBeLeft { onReleased?() } }
  }
  /// Called when it can be left.
  public var onReleased: (@Loop () -> Void)?
  /// Called when its container is removed, or will never be.
  public var onVacated: (@Loop () -> Void)?
  private(set) var stopRequested: Bool
  private(set) var stopReason: String?
  /// What `stop` interrupts, while there is something to interrupt.
  var onStop: (@Loop () -> Void)?
  private var onEnd: (@Loop (Conclusion) async -> Void)?

  private indirect enum Pending {
    case invocation(Invocation)
  }

  // Made anew where they are needed: of ten thousand sessions that live hardly one needs them at a time.

  var directory: PrivateDirectory { PrivateDirectory(in: host.runtimeDirectory, session: id) }

  var log: Logger {
    var log = host.log
    log[metadataKey: "session_id"] = "\(id)"
    log[metadataKey: "container_name"] = "\(containerName)"
    log[metadataKey: "profile"] = "\(facts.metadata.profile)"
    return log
  }

  /// Writes an event, with what every event of the session has. Nothing is put together for one that is not written.
  ///
  /// - Parameters:
  ///   - room: how many facts there may be: a dictionary that grows is made anew.
  ///   - add: adds what only this event has.
  func tell(
    _ level: Logger.Level, _ event: Logger.Message, room: Int = 8, _ add: (inout Logger.Metadata) -> Void
  ) {
    guard host.log.logLevel <= level else { return }
    var facts = Logger.Metadata(minimumCapacity: room)
    facts["session_id"] = .string(id.description)
    facts["container_name"] = .string(containerName.description)
    facts["profile"] = .string(profile)
    add(&facts)
    host.log.log(level: level, event, metadata: facts)
  }

  /// What it was asked for, until it is released.
  var invocation: Invocation? {
    guard case .invocation(let invocation)? = pending else { return nil }
    return invocation
  }

  /// Its envelope's bytes, once: the secrets in them are not kept for as long as it lives.
  func takeEnvelope() -> [UInt8]? {
    defer { pending = nil }
    return invocation?.envelope?.bytes
  }

  /// Its clone token, once, like its envelope.
  func takeCloneToken() -> [UInt8]? {
    guard case .invocation(var invocation)? = pending else { return nil }
    defer {
      invocation.cloneToken = nil
      pending = .invocation(invocation)
    }
    return invocation.cloneToken
  }

  /// Its turn has come: it may be run, with this.
  public func takeTurn(_ invocation: Invocation) {
    pending = .invocation(invocation)
    canBeLeft = false
  }

  /// What its record says when it is written next.
  public var metadata: Metadata { facts.metadata }

  /// What of that changes. Changed where it is: a copy of it is a copy of all its phases.
  var course: Metadata.Course {
    get { facts.progress.metadata }
    _modify { yield &facts.progress.metadata }
  }

  init(
    host: SessionHost, id: SessionID, containerName: ContainerName, facts: Facts, at place: Journal.Place,
    beginning: Beginning, invocation: Invocation? = nil
  ) {
    self.host = host
    self.id = id
    self.containerName = containerName
    self.facts = facts
    self.place = place
    self.beginning = beginning
    pending = invocation.map { .invocation($0) }
    // What an earlier daemon did is not believed to have been all, so that its sessions have their containers removed.
    switch beginning {
    case .queued, .prepared: isLaunched = false
    case .released, .ended: isLaunched = true
    }
    // Moments of another run of the machine mean nothing in this one.
    accepted =
      facts.bootID == Boot.id ? min(Instant(nanoseconds: facts.acceptedNanoseconds), Loop.now) : Loop.now
    phase = facts.metadata.phases.last.flatMap { SessionPhase(rawValue: $0.name) } ?? .image
    stopRequested = facts.requestedEnd == .stop
    if case .queued = beginning { canBeLeft = true }
    if case .released = beginning { synchronization = .done }
  }

  /// Asks the session to end: SIGTERM to its command, SIGKILL after the grace. Asking again does nothing.
  ///
  /// - Parameter reason: the sentence for a session whose container has not been started; nil when somebody asked.
  public func stop(because reason: String? = nil) {
    guard !stopRequested else { return }
    stopRequested = true
    stopReason = reason
    if facts.step == .queued {
      // The next daemon must not run what somebody was told is stopped.
      canBeLeft = false
      note(.stop)
    }
    onStop?()
  }

  /// Lives the session to its end. To be called once.
  ///
  /// A task keeps the most memory that its calls ever needed, a kilobyte at a time. So there is one while the session
  /// begins and one while it ends, and none while it waits for its turn or lives.
  ///
  /// - Parameter onEnd: called when its record is complete, or why not is said, and nothing more happens to it.
  public func run(_ onEnd: @escaping @Loop (Conclusion) async -> Void) {
    self.onEnd = onEnd
    switch beginning {
    case .queued, .prepared: begin()
    case .released(let container):
      canBeLeft = true
      readReport(writtenAt: directory.reportTime())
      supervise(container)
    case .ended(let ending, let time):
      if facts.step == .released { readReport(writtenAt: directory.reportTime()) }
      endTime = time
      end { ending }
    }
  }

  /// Ends the session, when it is its turn: what it had is removed, and its record completed.
  ///
  /// - Parameter ending: how it ended.
  func end(_ ending: @escaping @Loop () async -> Ending) {
    host.ends.enter(id) { _ in
      Loop.spawn {
        let departure = await self.depart(await ending())
        self.host.ends.leave()
        if departure.problem == nil { self.enter(.seal) }
        // Not in the next line, where a long one would keep others from being completed.
        _ = await self.earlySeal?.value
        guard !self.host.completions.enterAtOnce() else { return await self.complete(departure) }
        self.host.completions.enter(self.id) { _ in
          Loop.spawn { await self.complete(departure) }
        }
      }
    }
  }

  /// Completes its record, in its turn, and tells whoever began it.
  private func complete(_ departure: Departure) async {
    let conclusion = await conclude(departure)
    host.completions.leave()
    await onEnd?(conclusion)
    onEnd = nil
  }

  /// Writes down how it ended and removes its container.
  @inline(never) private func depart(_ ending: Ending) async -> Departure {
    canBeLeft = false
    let conclusion = Conclusion(ending)
    if facts.step != .ended { await settle(ending, conclusion) }
    if let reason = conclusion.reason { await explain(reason) }
    enter(.teardown)
    return await removeContainer(conclusion)
  }

  @inline(never) private func conclude(_ departure: Departure) async -> Conclusion {
    var conclusion = departure.conclusion
    conclusion.problems = await leave(departure)
    conclusion.duration = Loop.now - accepted
    tell(.info, "runner.session_teardown", room: 16) { event in
      event["record"] = .string(facts.origin.record)
      event["record_complete"] = .stringConvertible(conclusion.problems.isEmpty)
      event["duration_ms"] = .stringConvertible(conclusion.duration.wholeMilliseconds)
      for (phase, time) in metadata.phaseTimes(until: Loop.wallClock) {
        event[phase + "_ms"] = .stringConvertible(time.wholeMilliseconds)
      }
    }
    return conclusion
  }

  /// Writes down how it ended, before anything of it is removed.
  @inline(never) private func settle(_ ending: Ending, _ conclusion: Conclusion) async {
    Checkpoint.exited.pass()
    let end = endTime ?? Loop.wallClock
    course.endTimestamp = end
    course.endPhase(at: end)
    facts.ending = ending
    do throws(SystemError) {
      try await keep(.ended)
    } catch {
      // Should this daemon end before the record is complete, the next one has podman to ask.
      fail("facts", "\(error)")
    }
    Checkpoint.ended.pass()
    tell(ending, conclusion)
  }

  /// Goes on to the next step, and notes when.
  func enter(_ next: SessionPhase, at moment: Timestamp = Loop.wallClock) {
    guard next != phase else { return }
    course.beginPhase(next.rawValue, at: moment)
    phase = next
    tell(.debug, "runner.session_phase") { $0["phase"] = .string(next.rawValue) }
  }

  private func tell(_ ending: Ending, _ conclusion: Conclusion) {
    switch ending {
    case .failed(let sentence):
      tell(.error, "runner.session_error") { $0["reason"] = .string(sentence) }
    case .exited, .timedOut, .setupFailed:
      tell(conclusion.outcome.isSuccess ? .info : .warning, "runner.session_outcome") {
        $0["outcome"] = .string(conclusion.outcome.label)
        if let code = conclusion.exitCode { $0["exit_code"] = .stringConvertible(code) }
        if case .setupFailed(_, let sentence?) = ending { $0["reason"] = .string(sentence) }
      }
    }
  }

  /// Puts a sentence of agentd's own where the operator looks for the reason: at the end of the session's output.
  @inline(never) private func explain(_ sentence: String) async {
    let now = Loop.wallClock
    do throws(AuditError) {
      try await host.worker.run { [record] () throws(AuditError) in
        try record.appendToConsole(sentence, at: now)
      }
    } catch {
      fail("console", "\(error)")
    }
  }

  /// Tells that something of the session's own machinery failed.
  func fail(_ stage: String, _ reason: String) {
    tell(.error, "runner.lifecycle_failure") {
      $0["stage"] = .string(stage)
      $0["reason"] = .string(reason)
    }
  }
}
