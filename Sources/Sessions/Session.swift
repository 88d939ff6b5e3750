// One session's life, from its record to its outcome: a linear function that reads top to bottom.

public import Audit
internal import Engine
internal import Logging
internal import Profiles
public import Reactor

/// A session that was accepted. It ends by itself, or by `stop`, or by its deadline; its record is sealed then.
@Loop
public final class Session {
  /// How often a session id that was drawn before is drawn anew.
  private static let collisionLimit = 4

  /// Its id.
  public let id: SessionID
  /// What was asked for.
  public private(set) var invocation: Invocation
  /// Its record on disk.
  public let record: Record
  /// When it was accepted.
  public let accepted: Instant
  /// What it is doing.
  public private(set) var phase: SessionPhase = .image

  let host: SessionHost
  let directory: PrivateDirectory
  let containerName: ContainerName
  var log: Logger
  var metadata: Metadata
  var envelope: Stream?
  private(set) var stopRequested = false
  /// What `stop` interrupts, while there is something to interrupt.
  var onStop: (@Loop () -> Void)?

  private init(
    host: SessionHost, id: SessionID, invocation: Invocation, record: Record, metadata: Metadata,
    directory: PrivateDirectory, containerName: ContainerName, envelope: Stream
  ) {
    self.host = host
    self.id = id
    self.invocation = invocation
    self.record = record
    self.metadata = metadata
    self.directory = directory
    self.containerName = containerName
    self.envelope = envelope
    accepted = Loop.now
    log = host.log
    log[metadataKey: "session_id"] = "\(id)"
    log[metadataKey: "container_name"] = "\(containerName)"
    log[metadataKey: "profile"] = "\(invocation.profile.name)"
  }

  /// Makes the record and the private directory of a new session. When it throws, no private directory is left; a
  /// record that was made already stays incomplete.
  ///
  /// - Throws: `SessionRefusal`, a sentence for whoever asked.
  public static func prepare(_ invocation: Invocation, on host: SessionHost) async throws(SessionRefusal)
    -> Session
  {
    for _ in 0..<collisionLimit {
      let id = SessionID.random()
      guard
        let name = ContainerName(
          daemon: host.daemonID, profile: invocation.profile.name, session: id.description)
      else { throw SessionRefusal("The profile's name \(invocation.profile.name) cannot name a container.") }
      var metadata = Metadata(
        sessionID: id.description, profile: invocation.profile.name, repoURL: invocation.repository.text,
        workUnit: invocation.workUnit?.text, scheduledFor: invocation.scheduledFor,
        startTimestamp: Loop.wallClock,
        image: invocation.profile.baseImage)
      metadata.phases = [.init(name: SessionPhase.image.rawValue, startTimestamp: metadata.startTimestamp)]
      let directory = PrivateDirectory(runtimeDirectory: host.runtimeDirectory, session: id)
      let made = await host.worker.run { [metadata] in make(directory, metadata, host.auditRoot) }
      switch made {
      case .collision: continue
      case .failed(let sentence): throw SessionRefusal(sentence)
      case .made(let record, let fifo):
        let descriptor = Descriptor(owning: fifo)
        do throws(SystemError) {
          let envelope = try Stream(descriptor, .write)
          return Session(
            host: host, id: id, invocation: invocation, record: record, metadata: metadata,
            directory: directory,
            containerName: name, envelope: envelope)
        } catch {
          try? await host.worker.run { () throws(SystemError) in try directory.remove() }
          throw SessionRefusal("The session cannot be watched (\(error)): raise the open-files limit.")
        }
      }
    }
    throw SessionRefusal(
      "No free session id was found in \(host.auditRoot): the kernel's random numbers repeat.")
  }

  private enum Preparation: Sendable {
    case made(Record, fifo: Int32)
    case collision
    case failed(String)
  }

  /// On the worker: private directory first, because it is the one that can be taken back.
  private nonisolated static func make(
    _ directory: PrivateDirectory, _ metadata: Metadata, _ auditRoot: String
  ) -> Preparation {
    let fifo: Descriptor
    do throws(SystemError) {
      fifo = try directory.create()
    } catch {
      guard error.errno != .fileExists else { return .collision }
      try? directory.remove()
      return .failed(
        "The session's private directory cannot be made (\(error)): see to the runtime directory.")
    }
    do throws(AuditError) {
      return .made(try Record.create(auditRoot: auditRoot, metadata: metadata), fifo: fifo.release())
    } catch {
      try? directory.remove()
      if case .collision = error { return .collision }
      return .failed("\(error)")
    }
  }

  /// Asks the session to end: SIGTERM to its command, SIGKILL after the grace. Asking again does nothing.
  public func stop() {
    guard !stopRequested else { return }
    stopRequested = true
    onStop?()
  }

  /// Gives the envelope out once. The secrets in it are not kept for as long as the session lives.
  func takeEnvelope() -> [UInt8]? {
    defer { invocation.envelope = nil }
    return invocation.envelope?.bytes
  }

  /// Lives the session to its end. To be called once.
  public func run() async -> Conclusion {
    log.info("runner.session_started", metadata: ["repository": "\(invocation.repository.text)"])
    let ending = await live()
    var conclusion = Conclusion(ending)
    report(ending, conclusion)
    if let reason = conclusion.reason { await explain(reason) }

    enter(.teardown)
    var problems: [String] = []
    await tearDown(&problems)
    if problems.isEmpty {
      enter(.seal)
      await seal(&conclusion, &problems)
    }
    conclusion.problems += problems
    conclusion.duration = Loop.now - accepted
    log.info(
      "runner.session_teardown",
      metadata: [
        "record": "\(record.path)", "record_complete": .stringConvertible(problems.isEmpty),
        "duration_ms": .stringConvertible(conclusion.duration.wholeMilliseconds),
      ])
    return conclusion
  }

  /// Goes on to the next step, and notes when.
  func enter(_ next: SessionPhase) {
    guard next != phase else { return }
    let now = Loop.wallClock
    if !metadata.phases.isEmpty { metadata.phases[metadata.phases.count - 1].endTimestamp = now }
    metadata.phases.append(.init(name: next.rawValue, startTimestamp: now))
    phase = next
    log.debug("runner.session_phase", metadata: ["phase": "\(next.rawValue)"])
  }

  private func report(_ ending: Ending, _ conclusion: Conclusion) {
    metadata.endTimestamp = Loop.wallClock
    switch ending {
    case .failed(let sentence):
      log.error("runner.session_error", metadata: ["reason": "\(sentence)"])
    case .exited, .timedOut, .setupFailed:
      var facts: Logger.Metadata = ["outcome": "\(conclusion.outcome.label)"]
      if let code = conclusion.exitCode { facts["exit_code"] = .stringConvertible(code) }
      if case .setupFailed(_, let sentence?) = ending { facts["reason"] = "\(sentence)" }
      log.log(
        level: conclusion.outcome.isSuccess ? .info : .warning, "runner.session_outcome", metadata: facts)
    }
  }

  /// Puts a sentence of agentd's own where the operator looks for the reason: at the end of the session's output.
  private func explain(_ sentence: String) async {
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
    log.error("runner.lifecycle_failure", metadata: ["stage": "\(stage)", "reason": "\(reason)"])
  }
}

/// Why no session was begun. One sentence.
public struct SessionRefusal: Error, Sendable, CustomStringConvertible {
  /// The sentence.
  public let description: String
  /// - Parameter sentence: what is wrong and what to do.
  public init(_ sentence: String) { description = sentence }
}
