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
  /// Sessions at once. Each holds some descriptors and, while it starts or ends, a share of podman.
  static let sessionLimit = 1000
  /// How long a start waits for what earlier daemons' dead sessions have left to be removed and sealed. What takes
  /// longer goes on beside everything else.
  private static let recoveryPatience: Duration = .seconds(10)
  /// How long the last lines of the log may take to be read.
  private static let logPatience: Duration = .seconds(2)
  /// The signals that end the daemon. SIGHUP too, so that a terminal that closes drains it instead of killing it.
  public nonisolated static let endingSignals =
    [SIGINT, SIGTERM] + (Signals.isIgnored(SIGHUP) ? [] : [SIGHUP])

  private let configuration: Configuration
  private let environment: [String: String]
  private let sealCommand: [String]
  private let log = Logger(label: "agentd")
  private let runnerLog = Logger(label: "runner")
  private let stopping = Latch()
  private let idle = Latch()
  private var sessions: [SessionID: Session] = [:]
  /// Requests that may still become sessions.
  private var beginning = 0
  /// Sessions that have ended and whose clients are being told.
  private var replying = 0
  /// How long podman may take; a test may have less patience.
  var deadlines = Containers.Deadlines()
  private var instance: Instance?
  private var scheduler: Scheduler?

  /// - Parameters:
  ///   - configuration: what to run.
  ///   - environment: the daemon's own; podman gets it without the secrets that the configuration names.
  ///   - sealCommand: the words that seal the record at the path that follows them.
  public init(configuration: Configuration, environment: [String: String], sealCommand: [String]) {
    self.configuration = configuration
    self.environment = environment
    self.sealCommand = sealCommand
  }

  /// Runs until a signal has ended it and all sessions have ended.
  ///
  /// - Throws: `StartFailure` when it cannot start; nothing is left behind then.
  public func run(backend: BackendChoice) async throws(StartFailure) {
    log.info(
      "agentd.reactor_chosen",
      metadata: ["reactor": "\(backend.kind.rawValue)", "reason": "\(backend.reason)"])
    let signals = try Self.granted { () throws(SystemError) in
      try Signals(Self.endingSignals) { [weak self] in self?.receive($0) }
    }
    defer { signals.close() }
    let worker = try Self.granted { () throws(SystemError) in try Worker() }
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
    let host = try Self.granted { () throws(SystemError) in
      try SessionHost(
        containers: containers, worker: worker, daemonID: instance.id,
        runtimeDirectory: instance.runtimeDirectory,
        auditRoot: configuration.daemon.auditRoot, sealCommand: sealCommand, log: runnerLog)
    }
    defer { host.close() }
    try await recover(on: host)
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
    let scheduler = Scheduler(configuration, worker: worker, log: log)
    self.scheduler = scheduler
    defer { scheduler.stop() }
    do throws(SystemError) {
      try await scheduler.start(at: Loop.wallClock)
    } catch {
      throw StartFailure("The kernel refuses the timer for schedules (\(error)): raise the open-files limit.")
    }
    await stopping.wait()
    server.stopAccepting()
    log.info("agentd.draining", metadata: ["sessions": .stringConvertible(sessions.count + beginning)])
    openWhenIdle()
    await idle.wait()
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
    guard let podman = await worker.run({ Program.find("podman", in: path) }) else {
      throw StartFailure(
        "There is no podman in PATH (\(path)): install Podman, or correct the daemon's PATH.")
    }
    let secrets = configuration.secretVariables
    let words = environment.filter { !secrets.contains($0.key) }.map { "\($0.key)=\($0.value)" }
    let containers = Containers(
      podman: Podman(executable: podman), environment: words, worker: worker, deadlines: deadlines)
    do throws(EngineError) {
      try await containers.probe()
    } catch {
      throw StartFailure(
        "Podman does not work (\(error)): see that `podman info` works for the daemon's user.")
    }
    return containers
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
    var unsettled = recovered.count { !$0.goesOn }
    for found in recovered {
      sessions[found.session.id] = found.session
      Loop.spawn {
        await self.live(found.session, for: nil)
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
    guard stopping.isOpen else {
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

  private func openWhenIdle() {
    if stopping.isOpen, sessions.isEmpty, beginning == 0, replying == 0 { idle.open() }
  }

  // MARK: Requests

  private func answer(_ request: Request, from connection: Connection, on host: SessionHost) async {
    switch request {
    case .run(let invocation): await begin(invocation, from: connection, on: host)
    case .stop(let id): await connection.send(stop(id))
    case .list: await connection.send(.sessions(sessions: list()))
    }
  }

  private func stop(_ id: String) -> Reply {
    guard let id = SessionID(id), let session = sessions[id] else {
      return .refused(reason: "No session \(id.prefix(32).debugDescription) lives: see `agentd ps`.")
    }
    session.stop()
    return .done
  }

  private func list() -> [LiveSession] {
    let now = Loop.now
    return sessions.values.sorted { ($0.accepted, $0.id.description) < ($1.accepted, $1.id.description) }.map
    {
      LiveSession(
        id: $0.id.description, profile: $0.profile, phase: $0.phase.rawValue,
        ageMilliseconds: (now - $0.accepted).wholeMilliseconds, repository: $0.repository,
        isScheduled: $0.isScheduled)
    }
  }

  private func begin(_ request: InvocationRequest, from connection: Connection, on host: SessionHost) async {
    beginning += 1
    let session: Session
    do throws(SessionRefusal) {
      session = try await admit(request, on: host)
      Checkpoint.prepared.pass()
    } catch {
      log.warning(
        "agentd.run_rejected",
        metadata: ["profile": "\(request.profile.prefix(64))", "reason": "\(error)"])
      beginning -= 1
      openWhenIdle()
      await connection.send(.refused(reason: error.description))
      return
    }
    sessions[session.id] = session
    beginning -= 1
    if !request.detach { connection.attach() }
    Loop.spawn { await self.live(session, for: request.detach ? nil : connection) }
    await connection.send(
      .accepted(
        session: AcceptedSession(
          id: session.id.description, record: session.record.path, consoleLog: session.record.consoleLogPath))
    )
  }

  private func admit(_ request: InvocationRequest, on host: SessionHost) async throws(SessionRefusal)
    -> Session
  {
    guard !stopping.isOpen else {
      throw SessionRefusal("The daemon is stopping: it finishes its sessions and begins none.")
    }
    guard sessions.count + beginning <= Self.sessionLimit else {
      throw SessionRefusal("\(Self.sessionLimit) sessions live already: wait for one to end.")
    }
    let intake = Intake(configuration: configuration, worker: host.worker)
    let invocation = try await intake.invocation(for: request)
    Checkpoint.intake.pass()
    return try await Session.prepare(invocation, on: host)
  }

  private func live(_ session: Session, for connection: Connection?) async {
    let conclusion = await session.run()
    sessions[session.id] = nil
    replying += 1
    if let connection {
      await connection.send(.finished(session: FinishedSession(session, conclusion)))
      connection.detach()
    }
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
