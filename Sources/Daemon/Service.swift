// The daemon: claims its instance, cleans up, listens, runs sessions, drains.

internal import Audit
internal import Control
internal import Engine
internal import Glibc
internal import Logging
public import Profiles
public import Reactor
internal import Sessions

/// One daemon from its start to its end.
@Loop
public final class Service {
  /// How long a start waits for what earlier daemons' dead sessions have left to be removed and sealed. What takes
  /// longer goes on beside everything else.
  private static let recoveryPatience: Duration = .seconds(10)
  /// How long the last lines of the log may take to be read.
  private static let logPatience: Duration = .seconds(2)
  /// How long sessions that are being prepared, or that are ending, may take before a hand-over goes on without them.
  var handOverPatience: Duration = .seconds(20)
  /// How long it then waits for those that it has told to end.
  private static let handOverGrace: Duration = .seconds(5)
  /// The signal that makes the daemon hand over to the next one.
  public nonisolated static let handOverSignal = SIGUSR1
  /// The signals that end the daemon. SIGHUP too, so that a terminal that closes drains it instead of killing it.
  public nonisolated static let endingSignals =
    [SIGINT, SIGTERM] + (Signals.isIgnored(SIGHUP) ? [] : [SIGHUP])
  /// All signals that the daemon receives.
  public nonisolated static let signals = endingSignals + [handOverSignal]

  /// How the daemon ends.
  enum Leaving {
    /// Not yet.
    case no
    /// When all sessions have ended.
    case draining
    /// When no session needs it for the moment: the next one takes them over.
    case handingOver
  }

  /// So many sessions at a time leave behind memory that is worth giving back.
  private static let crowd = 64

  let configuration: Configuration
  let environment: [String: String]
  private let sealCommand: [String]
  let log = Logger(label: "agentd")
  private let runnerLog = Logger(label: "runner")
  private let isReplacing: Bool
  private let supervisor: Supervisor
  let stopping = Latch()
  private let idle = Latch()
  private(set) var sessions: [SessionID: Session] = [:] {
    didSet { supervisor.sessions = sessions.count }
  }
  /// Which of them live and which wait for their turn.
  var admission: Admission<SessionID>
  /// Prepares those whose turn has come; nil before the daemon serves.
  private(set) var intake: Intake?
  /// Requests that may still become sessions.
  var beginning = 0
  /// Answers to clients that wait for a session's end, on their way.
  var replying = 0
  /// The most sessions there were at a time since memory was given back.
  private var crest = 0
  let followers: Followers
  private(set) var leaving = Leaving.no
  /// How long podman may take; a test may have less patience.
  var deadlines = Containers.Deadlines()
  private var instance: Instance?
  private var scheduler: Scheduler?

  /// - Parameters:
  ///   - configuration: what to run.
  ///   - environment: the daemon's own; podman gets it without the secrets that the configuration names.
  ///   - sealCommand: the words that seal the record at the path that follows them.
  ///   - isReplacing: whether a daemon that runs with this configuration is asked to hand over.
  public init(
    configuration: Configuration, environment: [String: String], sealCommand: [String],
    isReplacing: Bool = false
  ) {
    self.isReplacing = isReplacing
    self.configuration = configuration
    self.environment = environment
    self.sealCommand = sealCommand
    followers = Followers(configuration)
    let capacity = configuration.daemon.capacity
    admission = Admission(limit: capacity.sessions, queueLimit: capacity.queue)
    supervisor = Supervisor(environment: environment, log: log)
  }

  /// Runs until a signal has ended it and all sessions have ended, or were handed over.
  ///
  /// - Throws: `StartFailure` when it cannot start; nothing is left behind then.
  public func run(backend: BackendChoice) async throws(StartFailure) {
    log.info(
      "agentd.reactor_chosen",
      metadata: ["reactor": "\(backend.kind.rawValue)", "reason": "\(backend.reason)"])
    let signals = try Self.granted { () throws(SystemError) in
      try Signals(Self.signals) { [weak self] in self?.receive($0) }
    }
    defer { signals.close() }
    defer { supervisor.close() }
    let worker = try Self.granted { () throws(SystemError) in try Worker() }
    let goesFirst = Loop.takeRealtimeShare()
    if goesFirst { worker.takeRealtimeShare() }
    log.info("agentd.scheduling_chosen", metadata: ["goes_first": .stringConvertible(goesFirst)])
    if isReplacing {
      // A new one that could not start must not take the old one away.
      try await proveAuditRoot(worker)
      _ = try await reachPodman(worker)
      _ = try await findGit(worker)
      if configuration.hasMirrors { try await proveCacheRoot(worker) }
      try await Predecessor(pidFile: configuration.daemon.pidFile, worker: worker, log: log).handOver()
    }
    let instance = try await worker.run { [daemon = configuration.daemon] () throws(StartFailure) in
      try Instance(claiming: daemon)
    }
    self.instance = instance
    do throws(StartFailure) {
      try await serve(instance, worker)
    } catch {
      await resign(instance, worker)
      throw error
    }
    await resign(instance, worker)
    log.info("agentd.daemon_stopped")
    await EventLog.output.finish(within: Self.logPatience)
  }

  private func resign(_ instance: Instance, _ worker: Worker) async {
    // A signal from now on must not give up what may be another daemon's by then.
    self.instance = nil
    await worker.run { instance.resign() }
  }

  private func serve(_ instance: Instance, _ worker: Worker) async throws(StartFailure) {
    try await proveAuditRoot(worker)
    let containers = try await reachPodman(worker)
    let mirrors = try await findMirrors(instance, worker)
    let host = try Self.granted { () throws(SystemError) in
      try SessionHost(
        containers: containers, worker: worker, daemonID: instance.id,
        runtimeDirectory: instance.runtimeDirectory,
        auditRoot: configuration.daemon.auditRoot, sealCommand: sealCommand, log: runnerLog, mirrors: mirrors)
    }
    defer { host.close() }
    try await recover(on: host)
    await mirrors?.start(keeping: Set(sessions.keys.map(\.description)))
    let server = try Self.granted { () throws(SystemError) in
      try Server(
        path: configuration.daemon.socketPath, owner: geteuid(),
        onRefusal: { [log] in log.warning("agentd.client_refused", metadata: ["reason": "\($0)"]) },
        answer: { [weak self] in await self?.answer($1, from: $0, on: host) })
    }
    defer { server.close() }
    log.info(
      "agentd.daemon_started",
      metadata: [
        "pid": .stringConvertible(getpid()), "socket": "\(configuration.daemon.socketPath)",
        "audit_root": "\(configuration.daemon.auditRoot)", "daemon_id": "\(instance.id)",
        "profiles": .stringConvertible(configuration.profiles.count), "version": "\(Build.version)",
      ])
    let scheduler = Scheduler(
      configuration.profiles, socketPath: configuration.daemon.socketPath, worker: worker, log: log)
    self.scheduler = scheduler
    defer { scheduler.stop() }
    do throws(SystemError) {
      // A signal that came during the start has nothing to stop yet.
      if !stopping.isOpen { try await scheduler.start() }
    } catch {
      throw StartFailure("The kernel refuses the timer for schedules (\(error)): raise the open-files limit.")
    }
    supervisor.enter(.serving)
    intake = Intake(configuration: configuration)
    advance()
    await stopping.wait()
    supervisor.enter(leaving == .handingOver ? .handingOver : .draining)
    server.stopAccepting()
    if leaving == .draining {
      log.info("agentd.draining", metadata: ["sessions": .stringConvertible(sessions.count + beginning)])
      endQueue()
    }
    openWhenIdle()
    await idle.wait()
    await mirrors?.close()
    if leaving == .handingOver { await leaveSessions(instance) }
    await containers.close()
  }

  // MARK: Starting

  /// What the kernel grants, or the sentence for when it does not.
  private static func granted<Resource>(
    _ body: @Loop () throws(SystemError) -> Resource
  ) throws(StartFailure) -> Resource {
    do throws(SystemError) {
      return try body()
    } catch {
      throw StartFailure(
        "The kernel refuses what the daemon needs (\(error)): see to its limits and permissions.")
    }
  }

  /// Takes over the sessions of earlier daemons, and waits for those that are over, for a while.
  private func recover(on host: SessionHost) async throws(StartFailure) {
    let recovered: [RecoveredSession]
    do throws(RecoveryFailure) {
      recovered = try await Recovery(host: host, log: log).run()
    } catch {
      throw StartFailure(error.description)
    }
    let settled = Latch()
    let intake = Intake(configuration: configuration)
    var unsettled = recovered.count { !$0.goesOn && !$0.isQueued }
    for found in recovered {
      guard !found.isQueued else {
        requeue(found.session, intake)
        continue
      }
      add(found.session)
      admission.adopt(found.session.id, .live)
      live(found.session) {
        guard !found.goesOn else { return }
        unsettled -= 1
        if unsettled == 0 { settled.open() }
      }
    }
    guard unsettled > 0 else { return }
    let patience = Timer(after: Self.recoveryPatience) { settled.open() }
    await settled.wait()
    patience.cancel()
  }

  // MARK: Ending

  private func receive(_ signal: Int32) {
    guard signal != Self.handOverSignal else { return handOver() }
    guard stopping.isOpen else {
      leaving = .draining
      // At once: an occurrence that comes between this signal and the draining is not begun.
      scheduler?.stop()
      stopping.open()
      return
    }
    log.warning(
      "agentd.daemon_stopped", metadata: ["reason": "a second signal: sessions were left as they are"])
    instance?.resign()
    EventLog.output.flush()
    // Not exit(3): nothing that would run on the way out may wait for anything.
    _exit(128 + signal)
  }

  /// Begins to leave without ending any session, also in the middle of draining.
  private func handOver() {
    guard leaving != .handingOver else { return }
    leaving = .handingOver
    scheduler?.stop()
    log.info("agentd.handing_over", metadata: ["sessions": .stringConvertible(sessions.count + beginning)])
    _ = Timer(after: handOverPatience) { self.endUnstarted() }
    stopping.open()
    openWhenIdle()
  }

  /// A pull or a fetch may take half an hour, as may many starts before one, and what they are for is in this daemon's
  /// memory only.
  private func endUnstarted() {
    for session in sessions.values {
      let missing: String
      switch session.phase {
      case .image: missing = "the session's image was there"
      case .fetch: missing = "the session's repository was there"
      case .launch where session.awaitsStart: missing = "it was the session's turn to start"
      case .queued, .launch, .setup, .command, .teardown, .seal: continue
      }
      session.stop(because: "The daemon was replaced before \(missing): run it again.")
    }
    _ = Timer(after: Self.handOverGrace) { self.idle.open() }
  }

  /// Ends the process and leaves its sessions, their containers, facts and records to the next daemon.
  private func leaveSessions(_ instance: Instance) async {
    log.info(
      "agentd.daemon_stopped",
      metadata: ["reason": "handed over", "sessions": .stringConvertible(sessions.count)])
    await EventLog.output.finish(within: Self.logPatience)
    // What was said meanwhile.
    EventLog.output.flush()
    // From the moment in which the next one may begin, nothing of this one does anything.
    instance.resign()
    _exit(0)
  }

  func openWhenIdle() {
    guard beginning == 0, replying == 0 else { return }
    switch leaving {
    case .no: if sessions.isEmpty { giveBackMemory() }
    case .draining: if sessions.isEmpty { idle.open() }
    case .handingOver: if sessions.values.allSatisfy(\.canBeLeft) { idle.open() }
    }
  }

  private func giveBackMemory() {
    guard crest >= Self.crowd else { return }
    crest = 0
    Machine.releaseMemory()
  }

  func add(_ session: Session) {
    sessions[session.id] = session
    crest = max(crest, sessions.count)
    session.onReleased = { [weak self] in self?.openWhenIdle() }
    session.onVacated = { [weak self, id = session.id] in
      self?.admission.vacate(id)
      self?.advance()
    }
  }

  // MARK: Sessions

  func live(_ session: Session, _ onEnd: (@Loop () -> Void)? = nil) {
    session.run {
      await self.conclude(session, $0)
      onEnd?()
    }
  }

  @inline(never) private func conclude(_ session: Session, _ conclusion: Conclusion) async {
    sessions[session.id] = nil
    admission.end(session.id)
    advance()
    replying += 1
    await followers.tell(FinishedSession(session, conclusion), of: session.id)
    Checkpoint.answered.pass()
    replying -= 1
    openWhenIdle()
  }
}

extension FinishedSession {
  @Loop fileprivate init(_ session: Session, _ conclusion: Conclusion) {
    self.init(
      id: session.id.description, profile: session.profile, outcome: conclusion.outcome.label,
      isSuccess: conclusion.outcome.isSuccess, exitCode: conclusion.exitCode, signal: conclusion.signal,
      durationMilliseconds: conclusion.duration.wholeMilliseconds, record: session.record.path,
      reason: conclusion.reason, problems: conclusion.problems)
  }
}
