// One session: what is known of it, how it is made, and the order of its life from where it begins in this daemon.

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
  /// How often a session id that was drawn before is drawn anew.
  private static let collisionLimit = 4

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
  public var profile: String { metadata.profile }
  /// The repository it works on.
  public var repository: String { metadata.repoURL }
  /// Whether the profile's schedule began it.
  public var isScheduled: Bool { metadata.scheduledFor != nil }

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
  /// Whether the file of its facts is known to end with a whole line.
  private var hasWholeFacts: Bool
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
  func tell(
    _ level: Logger.Level, _ event: Logger.Message, _ facts: @autoclosure () -> Logger.Metadata = [:]
  ) {
    guard host.log.logLevel <= level else { return }
    var facts = facts()
    facts["session_id"] = "\(id)"
    facts["container_name"] = "\(containerName)"
    facts["profile"] = "\(profile)"
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
  public internal(set) var metadata: Metadata {
    get { facts.metadata }
    set { facts.metadata = newValue }
  }

  init(
    host: SessionHost, id: SessionID, containerName: ContainerName, facts: Facts, beginning: Beginning,
    invocation: Invocation? = nil
  ) {
    self.host = host
    self.id = id
    self.containerName = containerName
    self.facts = facts
    self.beginning = beginning
    pending = invocation.map { .invocation($0) }
    // Facts that an earlier daemon wrote may have been cut.
    hasWholeFacts = host.isRuntimeInMemory && invocation != nil
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

  /// Makes the record and the private directory of a new session. When it throws, neither is left.
  ///
  /// - Parameter isQueued: whether it is to wait for `takeTurn` before it is run.
  /// - Throws: `SessionRefusal`, a sentence for whoever asked.
  public static func prepare(
    _ invocation: Invocation, isQueued: Bool = false, on host: SessionHost
  ) async throws(SessionRefusal) -> Session {
    var isMoved = false
    for _ in 0..<collisionLimit {
      let id = SessionID.random()
      guard
        let name = ContainerName(
          daemon: host.daemonID, profile: invocation.profile.name, session: id.description)
      else { throw SessionRefusal("The profile's name \(invocation.profile.name) cannot name a container.") }
      let facts = firstFacts(invocation, isQueued, id, name, on: host)
      let directory = PrivateDirectory(in: host.runtimeDirectory, session: id)
      // One that is to wait for its turn has its record brought to the disk then.
      let synchronization = isQueued ? nil : Synchronization()
      // All that waits for a disk in one go: each coming and going of the worker costs as much as a file. The session goes on
      // when its record is there, and only its release waits until that is on the disk.
      let (made, images) = await host.worker.run {
        [profiles = host.profiles, profile = invocation.profile, store = host.containers.images] in
        let (made, fresh) = make(directory, facts, profile, profiles)
        return ((made, store?.state), rest: { isQueued ? nil : synchronize(fresh) })
      } onRest: {
        synchronization?.end($0)
      }
      let session: Session
      switch made {
      case .collision: continue
      case .moved:
        do throws(SystemError) {
          try await host.reopenRuntimeDirectory()
        } catch {
          throw SessionRefusal(unmade("\(error)"))
        }
        isMoved = true
        continue
      case .failed(let sentence): throw SessionRefusal(sentence)
      case .made where isQueued:
        session = Session(host: host, id: id, containerName: name, facts: facts, beginning: .queued)
      case .made:
        var invocation = invocation
        invocation.imageStore = images
        session = Session(
          host: host, id: id, containerName: name, facts: facts, beginning: .prepared, invocation: invocation)
      }
      session.synchronization = synchronization
      return session
    }
    guard !isMoved else { throw SessionRefusal(unmade("others are put in the place of what it is in")) }
    throw SessionRefusal(
      "No free session id was found in \(host.auditRoot): the kernel's random numbers repeat.")
  }

  private static func firstFacts(
    _ invocation: Invocation, _ isQueued: Bool, _ id: SessionID, _ name: ContainerName,
    on host: SessionHost
  ) -> Facts {
    let phase = isQueued ? SessionPhase.queued : .image
    let now = Loop.wallClock
    let metadata = Metadata(
      sessionID: id.description, daemonID: host.daemonID, profile: invocation.profile.name,
      repoURL: invocation.repository.text, workUnit: invocation.workUnit?.text,
      scheduledFor: invocation.scheduledFor, startTimestamp: now, image: invocation.profile.baseImage,
      phases: [.init(name: phase.rawValue, startTimestamp: now)])
    let record = Record(auditRoot: host.auditRoot, profile: metadata.profile, session: metadata.sessionID)
    return Facts(
      invocation, isQueued ? .queued : .prepared, containerName: name.description, record: record.path,
      accepted: Loop.now, metadata: metadata)
  }

  private enum Preparation: Sendable {
    case made
    case collision
    /// Another runtime directory is where the one was that is open.
    case moved
    case failed(String)
  }

  /// On the worker: the facts before the record, so that no record is without them.
  private nonisolated static func make(
    _ directory: PrivateDirectory, _ facts: Facts, _ profile: Profile, _ profiles: OpenProfiles
  ) -> (Preparation, Record.Fresh?) {
    do throws(SessionRefusal) {
      try Invocation.requireFiles(of: profile)
    } catch {
      return (.failed(error.description), nil)
    }
    do throws(SystemError) {
      guard try directory.create(facts) else { return (.moved, nil) }
    } catch {
      guard error.errno != .fileExists else { return (.collision, nil) }
      try? directory.remove()
      return (.failed(unmade("\(error)")), nil)
    }
    do throws(AuditError) {
      return (.made, try Record.make(in: profiles, metadata: facts.metadata))
    } catch {
      try? directory.remove()
      if case .collision = error { return (.collision, nil) }
      return (.failed("\(error)"), nil)
    }
  }

  private nonisolated static func unmade(_ reason: String) -> String {
    "The session's private directory cannot be made (\(reason)): see to the runtime directory."
  }

  /// On the worker: waits until a record that was just made is on the disk.
  ///
  /// - Returns: why it could not be done.
  private nonisolated static func synchronize(_ fresh: Record.Fresh?) -> String? {
    do throws(AuditError) {
      try fresh?.synchronize()
      return nil
    } catch {
      return "\(error)"
    }
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
        _ = await departure.sealed?.value
        self.host.completions.enter(self.id) { _ in
          Loop.spawn {
            let conclusion = await self.complete(departure)
            self.host.completions.leave()
            await self.onEnd?(conclusion)
            self.onEnd = nil
          }
        }
      }
    }
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

  @inline(never) private func complete(_ departure: Departure) async -> Conclusion {
    var conclusion = departure.conclusion
    conclusion.problems = await leave(departure)
    conclusion.duration = Loop.now - accepted
    var facts: Logger.Metadata = [
      "record": "\(record.path)", "record_complete": .stringConvertible(conclusion.problems.isEmpty),
      "duration_ms": .stringConvertible(conclusion.duration.wholeMilliseconds),
    ]
    for (phase, time) in metadata.phaseTimes(until: Loop.wallClock) {
      facts["\(phase)_ms"] = .stringConvertible(time.wholeMilliseconds)
    }
    tell(.info, "runner.session_teardown", facts)
    return conclusion
  }

  /// Writes down how it ended, before anything of it is removed.
  @inline(never) private func settle(_ ending: Ending, _ conclusion: Conclusion) async {
    Checkpoint.exited.pass()
    let end = endTime ?? Loop.wallClock
    metadata.endTimestamp = end
    metadata.endPhase(at: end)
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

  /// Puts the facts, and that it takes this step, where the next daemon finds them.
  func keep(_ step: Facts.Step) async throws(SystemError) {
    facts.step = step
    // What was written on the loop is known to have been written whole: nothing else writes between.
    let isWhole = hasWholeFacts
    hasWholeFacts = false
    try await host.onRuntimeDirectory { [directory, facts] () throws(SystemError) in
      try directory.write(facts, isWhole: isWhole)
    }
    hasWholeFacts = host.isRuntimeInMemory
  }

  /// Goes on to the next step, and notes when.
  func enter(_ next: SessionPhase, at moment: Timestamp = Loop.wallClock) {
    guard next != phase else { return }
    metadata.beginPhase(next.rawValue, at: moment)
    phase = next
    tell(.debug, "runner.session_phase", ["phase": "\(next.rawValue)"])
  }

  private func tell(_ ending: Ending, _ conclusion: Conclusion) {
    switch ending {
    case .failed(let sentence):
      tell(.error, "runner.session_error", ["reason": "\(sentence)"])
    case .exited, .timedOut, .setupFailed:
      var facts: Logger.Metadata = ["outcome": "\(conclusion.outcome.label)"]
      if let code = conclusion.exitCode { facts["exit_code"] = .stringConvertible(code) }
      if case .setupFailed(_, let sentence?) = ending { facts["reason"] = "\(sentence)" }
      tell(conclusion.outcome.isSuccess ? .info : .warning, "runner.session_outcome", facts)
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
    tell(.error, "runner.lifecycle_failure", ["stage": "\(stage)", "reason": "\(reason)"])
  }
}

/// Why no session was begun. One sentence.
public struct SessionRefusal: Error, Sendable, CustomStringConvertible {
  /// The sentence.
  public let description: String
  /// - Parameter sentence: what is wrong and what to do.
  public init(_ sentence: String) { description = sentence }
}
