// What a start does with the sessions of earlier daemons: finds them, decides, and brings each to where it goes on.

internal import Audit
internal import Engine
public import Logging
public import Reactor
internal import Time

/// Why sessions of earlier daemons could not be looked at. One sentence.
public struct RecoveryFailure: Error, Sendable, CustomStringConvertible {
  /// The sentence.
  public let description: String
}

/// A session of an earlier daemon, to be run to its end.
public struct RecoveredSession: Sendable {
  /// The session.
  public let session: Session
  /// Whether its container runs. What is left of the others is only to be removed.
  public let goesOn: Bool
  /// Whether it still waits for its turn.
  public let isQueued: Bool
}

/// Finds the sessions of earlier daemons of one instance. Nothing of another instance is touched: containers go by the
/// daemon's id in their names, directories by the runtime directory, records by the id in them.
@Loop
public struct Recovery {
  let host: SessionHost
  let log: Logger
  let launchPatience: Duration

  /// What is known of one session before anything was decided.
  private struct Trace {
    var facts: Facts?
    var place = Journal.Place()
    var hasDirectory = false
    var container: ContainerInspection?
  }

  /// - Parameters:
  ///   - host: the daemon's resources.
  ///   - log: receives `agentd.session_recovered` and what was removed.
  ///   - launchPatience: how long a launch that was left behind may take to end by itself; a test may have more.
  public init(host: SessionHost, log: Logger, launchPatience: Duration? = nil) {
    self.host = host
    self.log = log
    self.launchPatience = launchPatience ?? OrphanedLaunches.patience
  }

  /// Decides about each session, holds those that live, and removes what belongs to none.
  public func run() async throws(RecoveryFailure) -> [RecoveredSession] {
    // Before podman is asked: what they are about to make would be missed.
    await OrphanedLaunches(host: host, log: log, patience: launchPatience).end()
    let found = try await look()
    var traces = traces(found)
    let containers = try await listContainers()
    // podman knows a container whose making it has finished, and has it run.
    await HalfMadeContainers(host: host, log: log).end { name in
      !containers.contains { $0.name == name && ($0.exit.state != .dead || $0.exit.finished != nil) }
    }
    for container in containers {
      guard let session = SessionID(container.name.session) else { continue }
      traces[session, default: Trace()].container = container
    }
    var recovered: [RecoveredSession] = []
    for (id, trace) in traces {
      guard var facts = trace.facts, await isAccepted(facts, hasContainer: trace.container != nil) else {
        continue
      }
      await addEnding(to: &facts)
      recovered.append(try await recover(id, facts, trace, hasFacts: true))
      traces[id] = nil
    }
    for unfinished in await findUnfinished(except: Set(recovered.map(\.session.id))) {
      guard let id = SessionID(unfinished.metadata.sessionID) else { continue }
      // Its directory may have gone while it ran, and after that it put down how it ended.
      if traces[id]?.hasDirectory != true, let left = found.left[id],
        let facts = usable(left.facts, of: id), facts.step == .ended
      {
        traces[id, default: Trace()].place = left.place
        recovered.append(try await recover(id, facts, traces[id] ?? Trace(), hasFacts: true))
      } else if let facts = unfinished.facts(daemon: host.daemonID) {
        recovered.append(try await recover(id, facts, traces[id] ?? Trace(), hasFacts: false))
      }
      traces[id] = nil
    }
    await removeLeftovers(traces, recovered: recovered.count)
    await removeUnneededFiles()
    // So that those that wait keep their places.
    return recovered.sorted { $0.session.facts.precedes($1.session.facts) }
  }

  // MARK: Finding

  private func look() async throws(RecoveryFailure) -> Remains {
    let found: Remains
    do throws(SystemError) {
      found = try await host.worker.run { [parent = host.runtimeDirectory] () throws(SystemError) in
        try Remains(in: parent)
      }
    } catch {
      throw RecoveryFailure(
        description:
          "The runtime directory cannot be read (\(error)): give the daemon's user access to it, or remove it, which"
          + " ends the sessions that still run.")
    }
    if found.strays > 0 {
      fail("Of the journal \(found.strays) records name no session: see who wrote them.")
    }
    host.journal.begin(after: found.lastFile)
    return found
  }

  private func traces(_ found: Remains) -> [SessionID: Trace] {
    found.sessions.reduce(into: [:]) { traces, session in
      var trace = Trace(hasDirectory: true)
      if let left = found.left[session], let facts = usable(left.facts, of: session) {
        (trace.facts, trace.place) = (facts, left.place)
      }
      traces[session] = trace
    }
  }

  private func usable(_ reading: Result<Facts?, Facts.Unreadable>, of session: SessionID) -> Facts? {
    do throws(Facts.Unreadable) {
      guard let facts = try reading.get() else { return nil }
      let name = ContainerName(facts.containerName)
      guard name?.session == session.description, name?.daemon == host.daemonID else {
        throw Facts.Unreadable(reason: "it is of another session")
      }
      return facts
    } catch {
      fail("The facts of session \(session) cannot be read: \(error.reason).")
      return nil
    }
  }

  private func listContainers() async throws(RecoveryFailure) -> [ContainerInspection] {
    do throws(EngineError) {
      return try await host.containers.inspect(daemon: host.daemonID)
    } catch {
      throw RecoveryFailure(
        description:
          "Podman does not tell which containers there are (\(error)): see that `podman ps` works.")
    }
  }

  /// Whether there is a session. Without a whole record it was still being prepared; or the power failed before its record
  /// was on the disk, where its facts were, and then it was never released.
  private func isAccepted(_ facts: Facts, hasContainer: Bool) async -> Bool {
    guard !hasContainer, facts.step == .prepared || facts.step == .queued || facts.bootID != Boot.id else {
      return true
    }
    return await host.worker.run {
      let record = Record(path: facts.record)
      guard record.standing == .unmade else { return true }
      record.discard()
      return false
    }
  }

  /// How a session ended may be in its record where its facts could not be kept any more.
  private func addEnding(to facts: inout Facts) async {
    guard facts.step == .released else { return }
    let found = await host.worker.run { [facts] in
      let record = Record(path: facts.record)
      return Unfinished(record, record.metadata ?? facts.metadata)
    }
    guard let ending = found.ending else { return }
    facts.step = .ended
    facts.ending = ending
    facts.metadata = found.reopened
  }

  private func findUnfinished(except known: Set<SessionID>) async -> [Unfinished] {
    let names = Set(known.map(\.description))
    return await host.worker.run { [root = host.auditRoot, daemon = host.daemonID] in
      Record.unfinished(auditRoot: root, daemon: daemon, except: names).map { Unfinished($0, $1) }
    }
  }

  // MARK: Deciding

  private func recover(
    _ id: SessionID, _ facts: Facts, _ trace: Trace, hasFacts: Bool
  ) async throws(RecoveryFailure) -> RecoveredSession {
    guard let name = ContainerName(facts.containerName) else {
      throw RecoveryFailure(description: "The facts of session \(id) name no container.")
    }
    let held = try hold(trace.container)
    let findings = await findings(facts, trace, held, id, hasFacts: hasFacts)
    var decision = Decision(findings)
    // Its facts could not be kept when it ended. What has a complete record is over.
    if decision == .queued, await host.worker.run({ Record(path: facts.record).standing }) == .complete {
      decision = .interrupted(reason: Decision.stopped)
    }
    let beginning: Session.Beginning
    switch decision {
    case .goesOn, .ends: beginning = .released(held)
    case .queued:
      held.close()
      beginning = .queued
    case .finished(let ending):
      held.close()
      beginning = .ended(ending, at: await endTime(findings, facts))
    case .interrupted(let reason):
      held.close()
      beginning = .ended(.failed(reason: reason), at: await endTime(findings, facts))
    }
    tell(id, facts, decision)
    host.journal.adopt(trace.place)
    let session = Session(
      host: host, id: id, containerName: name, facts: facts, at: trace.place, beginning: beginning)
    return RecoveredSession(
      session: session, goesOn: decision == .goesOn, isQueued: decision == .queued)
  }

  private func hold(_ container: ContainerInspection?) throws(RecoveryFailure) -> HeldContainer {
    do throws(SystemError) {
      return try HeldContainer(container)
    } catch {
      throw RecoveryFailure(
        description: "A session that runs cannot be watched (\(error)): raise the open-files limit.")
    }
  }

  private func findings(
    _ facts: Facts, _ trace: Trace, _ held: HeldContainer, _ id: SessionID, hasFacts: Bool
  ) async -> Findings {
    let container = Self.finding(trace.container, held)
    let directory = PrivateDirectory(in: host.runtimeDirectory, session: id)
    let looksIntoFIFO = hasFacts && facts.step == .released && container == .live
    // The FIFO first: a container that has read it all has written its report by then.
    let (unread, report) = await host.worker.run {
      (looksIntoFIFO ? directory.unreadEnvelope() : nil, directory.report())
    }
    return Findings(
      step: hasFacts ? facts.step : nil, ending: facts.ending, requestedEnd: facts.requestedEnd,
      container: container, report: trace.hasDirectory ? report : nil, unreadEnvelope: unread,
      wasCut: facts.isPartlyReleased == true, wasRestarted: facts.bootID != Boot.id,
      image: facts.metadata.image)
  }

  private static func finding(_ container: ContainerInspection?, _ held: HeldContainer) -> Findings.Container
  {
    guard let container else { return .absent }
    switch container.exit.state {
    case .live, .unknown: return held.process == nil ? .ending : .live
    case .dead:
      // While conmon is there it may still write down the last output.
      guard held.conmon == nil else { return .ending }
      return .dead(
        code: container.exit.code, at: container.exit.finished.flatMap { Timestamp(rfc3339: $0) })
    }
  }

  /// When a session ended that does not go on: as podman has it, or else when it last printed something. nil for one
  /// whose container is killed now.
  private func endTime(_ findings: Findings, _ facts: Facts) async -> Timestamp? {
    // Of which only the record tells, and that it had ended.
    if findings.step == nil, findings.ending != nil, let time = facts.metadata.endTimestamp { return time }
    switch findings.container {
    case .live: return nil
    case .dead(_, let time?): return time
    case .dead(_, nil), .ending, .absent:
      let lastOutput = await host.worker.run { Record(path: facts.record).lastOutputTime }
      // One that printed nothing has a log that is older than its container.
      return lastOutput.map { max($0, facts.metadata.phases.last?.startTimestamp ?? $0) }
    }
  }

  private func tell(_ id: SessionID, _ facts: Facts, _ decision: Decision) {
    var details: Logger.Metadata = ["session_id": "\(id)", "profile": "\(facts.metadata.profile)"]
    switch decision {
    case .goesOn: details["how"] = "goes_on"
    case .queued: details["how"] = "queued"
    case .ends: details["how"] = "finished"
    case .finished(let ending):
      details["how"] = "finished"
      details["outcome"] = "\(Conclusion(ending).outcome.label)"
    case .interrupted(let reason):
      details["how"] = "interrupted"
      details["outcome"] = "\(Outcome.error.label)"
      details["reason"] = "\(reason)"
    }
    let level: Logger.Level = if case .interrupted = decision { .warning } else { .info }
    log.log(level: level, "agentd.session_recovered", metadata: details)
  }

  // MARK: Removing what belongs to no session

  private func removeLeftovers(_ traces: [SessionID: Trace], recovered: Int) async {
    // All are asked for at once, so that they share podman's processes.
    let removals = traces.map { id, trace in Loop.spawn { await self.remove(id, trace) } }
    var (containers, directories) = (0, 0)
    for removal in removals {
      let removed = await removal.value
      if removed.container { containers += 1 }
      if removed.directory { directories += 1 }
    }
    log.info(
      "agentd.startup_reconciliation_completed",
      metadata: [
        "removed_containers": .stringConvertible(containers),
        "removed_directories": .stringConvertible(directories),
        "recovered_sessions": .stringConvertible(recovered),
      ])
  }

  /// What the journal has of sessions that are over.
  private func removeUnneededFiles() async {
    let needed = host.journal.needed
    let error = await host.worker.run { [path = host.runtimeDirectory.path] () -> SystemError? in
      do throws(SystemError) {
        for number in try JournalFile.numbers(in: path) where !needed.contains(number) {
          if let error = JournalFile(number, in: path).remove() { throw error }
        }
        return nil
      } catch {
        return error
      }
    }
    if let error { fail("What the journal has of sessions that are over was not removed: \(error).") }
  }

  private func remove(_ id: SessionID, _ trace: Trace) async -> (container: Bool, directory: Bool) {
    var removed = (container: false, directory: false)
    if let name = trace.container?.name {
      do throws(EngineError) {
        try await host.containers.remove(name)
        removed.container = true
      } catch {
        fail("The container \(name), which belongs to no session, was not removed: \(error).")
        return removed
      }
    }
    guard trace.hasDirectory else { return removed }
    let directory = PrivateDirectory(in: host.runtimeDirectory, session: id)
    do throws(SystemError) {
      try await host.worker.run { () throws(SystemError) in try directory.remove() }
      removed.directory = true
    } catch {
      fail("The private directory of the dead session \(id) was not removed: \(error).")
    }
    return removed
  }

  private func fail(_ reason: String) {
    log.error("runner.lifecycle_failure", metadata: ["stage": "recovery", "reason": "\(reason)"])
  }
}
