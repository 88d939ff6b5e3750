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

  private let configuration: Configuration
  private let environment: [String: String]
  private let sealCommand: [String]
  private let log = Logger(label: "agentd")
  private let runnerLog = Logger(label: "runner")
  private let isReplacing: Bool
  private let supervisor: Supervisor
  private let stopping = Latch()
  private let idle = Latch()
  private(set) var sessions: [SessionID: Session] = [:] {
    didSet { supervisor.sessions = sessions.count }
  }
  /// Which of them live and which wait for their turn.
  var admission: Admission<SessionID>
  /// Prepares those whose turn has come; nil before the daemon serves.
  private(set) var intake: Intake?
  /// Requests that may still become sessions.
  private var beginning = 0
  /// Answers to clients that wait for a session's end, on their way.
  private var replying = 0
  private let followers: Followers
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
    if isReplacing {
      // A new one that could not start must not take the old one away.
      try await proveAuditRoot(worker)
      _ = try await reachPodman(worker)
      _ = try await findGit(worker)
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
    intake = Intake(configuration: configuration, worker: worker)
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

  private func proveAuditRoot(_ worker: Worker) async throws(StartFailure) {
    do throws(AuditError) {
      try await worker.run { [root = configuration.daemon.auditRoot] () throws(AuditError) in
        try Record.proveWritable(auditRoot: root)
      }
    } catch {
      throw StartFailure("Audit records cannot be written. \(error)")
    }
  }

  private func reachPodman(_ worker: Worker) async throws(StartFailure) -> Containers {
    let path = environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"
    guard let podman = await worker.run({ Executable.find("podman", in: path) }) else {
      throw StartFailure(
        "There is no podman in PATH (\(path)): install Podman, or correct the daemon's PATH.")
    }
    let withheld = configuration.secretVariables.union(Supervisor.variables)
    let words = environment.filter { !withheld.contains($0.key) }.map { "\($0.key)=\($0.value)" }
    let containers = Containers(
      podman: Podman(executable: podman), environment: words, worker: worker,
      processLimit: configuration.daemon.capacity.podmanProcesses, deadlines: deadlines)
    do throws(EngineError) {
      try await containers.probe()
    } catch {
      throw StartFailure(
        "Podman does not work (\(error)): see that `podman info` works for the daemon's user.")
    }
    return containers
  }

  /// The path of git; nil when each profile does without.
  private func findGit(_ worker: Worker) async throws(StartFailure) -> String? {
    guard configuration.profiles.contains(where: \.repositoryCache) else { return nil }
    let path = environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"
    guard let git = await worker.run({ Executable.find("git", in: path) }) else {
      throw StartFailure(
        "There is no git in PATH (\(path)), and profiles have a repo_cache: install git, correct the daemon's PATH, "
          + "or set repo_cache = false in each profile.")
    }
    return git
  }

  private func findMirrors(_ instance: Instance, _ worker: Worker) async throws(StartFailure) -> Mirrors? {
    guard let git = try await findGit(worker) else { return nil }
    let withheld = configuration.secretVariables
    let mirrors = Mirrors(
      git: Git(executable: git), root: configuration.daemon.cacheRoot, daemon: instance.id,
      maxAge: configuration.daemon.cacheMaxAge,
      environment: environment.filter { !withheld.contains($0.key) }, worker: worker)
    mirrors.onEvent = { [log] in Self.tell($0, log) }
    return mirrors
  }

  private static func tell(_ event: MirrorEvent, _ log: Logger) {
    switch event {
    case .rebuilt(let profile, let repository, let reason):
      log.warning(
        "agentd.mirror_rebuilt",
        metadata: ["profile": "\(profile)", "repository": "\(repository)", "reason": "\(reason)"])
    case .dropped(let count):
      log.info("agentd.mirrors_dropped", metadata: ["count": .stringConvertible(count)])
    case .orphanEnded(let pid):
      log.warning("agentd.orphaned_fetch_ended", metadata: ["pid": .stringConvertible(pid)])
    case .notRemoved(let reason):
      log.error("runner.lifecycle_failure", metadata: ["stage": "mirrors", "reason": "\(reason)"])
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
    let intake = Intake(configuration: configuration, worker: host.worker)
    var unsettled = recovered.count { !$0.goesOn && !$0.isQueued }
    for found in recovered {
      guard !found.isQueued else {
        requeue(found.session, intake)
        continue
      }
      add(found.session)
      admission.adopt(found.session.id, .live)
      Loop.spawn {
        await self.live(found.session)
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

  /// A pull or a fetch may take half an hour, and what it is for is in this daemon's memory only.
  private func endUnstarted() {
    for session in sessions.values where session.phase == .image || session.phase == .fetch {
      let missing = session.phase == .image ? "image" : "repository"
      session.stop(
        because: "The daemon was replaced before the session's \(missing) was there: run it again.")
    }
    _ = Timer(after: Self.handOverGrace) { self.idle.open() }
  }

  /// Ends the process and leaves its sessions, their containers, facts and records to the next daemon.
  private func leaveSessions(_ instance: Instance) async {
    log.info(
      "agentd.daemon_stopped",
      metadata: ["reason": "handed over", "sessions": .stringConvertible(sessions.count)])
    await EventLog.output.finish(within: Self.logPatience)
    // From the moment in which the next one may begin, nothing of this one does anything.
    instance.resign()
    _exit(0)
  }

  private func openWhenIdle() {
    guard beginning == 0, replying == 0 else { return }
    switch leaving {
    case .no: break
    case .draining: if sessions.isEmpty { idle.open() }
    case .handingOver: if sessions.values.allSatisfy(\.canBeLeft) { idle.open() }
    }
  }

  func add(_ session: Session) {
    sessions[session.id] = session
    session.onReleased = { [weak self] in self?.openWhenIdle() }
    session.onVacated = { [weak self, id = session.id] in
      self?.admission.vacate(id)
      self?.advance()
    }
  }

  // MARK: Requests

  private func answer(_ request: Request, from connection: Connection, on host: SessionHost) async {
    switch request {
    case .run(let invocation): await begin(invocation, from: connection, on: host)
    case .stop(let id): await connection.send(stop(id))
    case .follow(let id):
      replying += 1
      await followers.follow(id, from: connection, on: host.worker) { id in
        self.sessions[id].map { self.accepted($0) }
      }
      replying -= 1
      openWhenIdle()
    case .list: await connection.send(.sessions(sessions: list()))
    case .describe(let id): await connection.send(describe(id))
    case .ping: await connection.send(.done)
    }
  }

  private func stop(_ id: String) -> Reply {
    guard let session = live(id) else { return Self.refusal(ofUnknown: id) }
    end(session)
    return .done
  }

  private func describe(_ id: String) -> Reply {
    guard let session = live(id) else { return Self.refusal(ofUnknown: id) }
    do {
      let metadata = String(decoding: try session.metadata.json(), as: UTF8.self)
      return .described(session: DescribedSession(record: session.record.path, metadata: metadata))
    } catch {
      return .refused(
        reason: "What is known of session \(id) has no JSON form (\(error)): report this as a bug.")
    }
  }

  private func live(_ id: String) -> Session? { SessionID(id).flatMap { sessions[$0] } }

  private static func refusal(ofUnknown id: String) -> Reply {
    .refused(reason: "No session \(id.prefix(32).debugDescription) lives: see `agentd ps`.")
  }

  private func begin(_ request: InvocationRequest, from connection: Connection, on host: SessionHost) async {
    beginning += 1
    let arrival = host.mirrors?.expect()
    defer { arrival?.end() }
    // From now on, so that a crowd of others does not end the connection in the middle.
    connection.attach()
    let session: Session
    let place: Admission<SessionID>.Place
    do throws(SessionRefusal) {
      (session, place) = try await admit(request, on: host)
    } catch {
      log.warning(
        "agentd.run_rejected",
        metadata: ["profile": "\(request.profile.prefix(64))", "reason": "\(error)"])
      beginning -= 1
      openWhenIdle()
      await connection.send(.refused(reason: error.description))
      connection.detach()
      return
    }
    welcome(session, place)
    beginning -= 1
    if !request.detach { followers.add(connection, to: session.id) }
    await connection.send(.accepted(session: accepted(session)))
    // One that is queued needs no daemon as it is.
    openWhenIdle()
    if request.detach { connection.detach() }
  }

  private func admit(
    _ request: InvocationRequest, on host: SessionHost
  ) async throws(SessionRefusal) -> (Session, Admission<SessionID>.Place) {
    guard !stopping.isOpen else {
      throw SessionRefusal(
        leaving == .handingOver
          ? "The daemon is handing over to the next one: ask again."
          : "The daemon is stopping: it finishes its sessions and begins none.")
    }
    guard let place = admission.reserve() else {
      throw SessionRefusal(
        "The daemon is full, with \(admission.limit) live and \(admission.queueLimit) queued "
          + "(daemon.max_sessions, daemon.queue_limit): ask again when one has ended.")
    }
    do throws(SessionRefusal) {
      let intake = Intake(configuration: configuration, worker: host.worker)
      let invocation = try await intake.invocation(for: request)
      Checkpoint.intake.pass()
      let session = try await Session.prepare(invocation, isQueued: place == .queue, on: host)
      (place == .queue ? Checkpoint.queued : .prepared).pass()
      return (session, place)
    } catch {
      admission.release(place)
      advance()
      throw error
    }
  }

  func live(_ session: Session) async {
    let conclusion = await session.run()
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
