// From the image to the end of the container: launch, release, watch, stop.

internal import Engine
internal import Glibc
internal import Profiles
internal import Reactor
internal import Time

extension Session {
  /// How long a command has to end by itself after SIGTERM.
  static let stopGrace: Duration = .seconds(10)
  /// How long after SIGKILL the kernel may take to end a container before podman is left to remove it.
  static let killPatience: Duration = .seconds(30)
  /// How long conmon may take to write the last output and clean up after a container has ended.
  static let conmonPatience: Duration = .seconds(30)

  /// What happens to a container that is watched. Each is posted once.
  private enum Event {
    case exited
    case conmonEnded
    case notReleased(StreamError)
    case deadline
    case stop
    case graceOver
    case patienceOver
  }

  /// Brings the session from where it begins to the end of its container.
  @inline(never) func live() async -> Ending {
    switch beginning {
    case .queued, .prepared:
      switch await Loop.spawn({ await self.started() }).value {
      case .success(let container): return await supervise(container)
      case .failure(let interruption): return ending(interruption)
      }
    case .released(let container):
      resume()
      return await supervise(container)
    case .ended(let ending, let time):
      if facts.step == .released { readReport(writtenAt: directory.reportTime()) }
      endTime = time
      return ending
    }
  }

  @inline(never) private func resume() {
    canBeLeft = true
    readReport(writtenAt: directory.reportTime())
  }

  @inline(never) private func ending(_ interruption: Interruption) -> Ending {
    switch interruption {
    case .stopped:
      let what = phase == .queued ? "while it was queued" : "before its container was started"
      return .failed(reason: stopReason ?? "The session was stopped \(what).")
    case .failed(let sentence): return .failed(reason: sentence)
    case .noShell: return .noShell(metadata.image)
    case .timedOut: return .timedOut(code: nil)
    case .notFetched(let sentence):
      // As a clone that fails in the container.
      return .setupFailed(code: SetupScript.failureCode, reason: sentence)
    }
  }

  private enum Interruption: Error {
    case stopped
    case failed(String)
    case noShell
    /// Its timeout was over before it had a container.
    case timedOut
    case notFetched(String)
  }

  /// Brings a session whose turn has come to where one that never waited begins.
  private func leaveQueue() async throws(Interruption) {
    canBeLeft = false
    guard !stopRequested else { throw .stopped }
    // On disk first, so that what ends a daemon while it starts does not end the next one as well.
    do throws(SystemError) {
      try await keep(.prepared)
      Checkpoint.dequeued.pass()
    } catch {
      throw .failed(Self.unkept(error, "it was not started"))
    }
    guard !stopRequested else { throw .stopped }
    enter(.image)
  }

  @inline(never) private func started() async -> Result<HeldContainer, Interruption> {
    do throws(Interruption) {
      if case .queued = beginning { try await leaveQueue() }
      log.info("runner.session_started", metadata: ["repository": "\(repository)"])
      return .success(try await start())
    } catch {
      return .failure(error)
    }
  }

  /// Brings a prepared session to a container that is watched and may be released.
  private func start() async throws(Interruption) -> HeldContainer {
    let arrival = host.mirrors?.expect()
    defer { arrival?.end() }
    let image = try await findImage()
    guard !stopRequested, let profile = invocation?.profile else { throw .stopped }
    let mirror = try await fetchRepository(for: profile, arrival)
    Checkpoint.fetched.pass()
    guard !stopRequested else { throw .stopped }
    enter(.launch)
    do throws(SystemError) {
      try await keep(.launching)
    } catch {
      throw .failed(Self.unkept(error, "its container was not started"))
    }
    Checkpoint.launching.pass()
    try await launch(profile, image, mirror)
    return try await hold()
  }

  /// Watches the container that was just started, and prepares its release.
  @inline(never) private func hold() async throws(Interruption) -> HeldContainer {
    Checkpoint.launched.pass()
    enter(.setup)
    let pids = await host.worker.run { [directory] in directory.processIDs() }
    guard pids.container != nil, pids.conmon != nil else {
      throw .failed(
        "The process ids of the container were not written down, so it could not be watched and was not released:"
          + " see to the runtime directory.")
    }
    let container: HeldContainer
    do throws(SystemError) {
      container = try HeldContainer(launched: pids.container, childOf: pids.conmon)
    } catch {
      // It runs and nobody would see it end. The teardown kills it; it was never released.
      throw .failed(
        "The container could not be watched (\(error)), so it was not released: raise the limits.")
    }
    Checkpoint.watched.pass()
    // One that has ended, or is to end, is not released.
    guard container.process != nil, !stopRequested else { return container }
    do throws(SystemError) {
      try await openEnvelope()
    } catch {
      container.close()
      throw .failed(
        "The session's FIFO could not be opened (\(error)), so it was not released: raise the open-files limit."
      )
    }
    if let bytes = invocation?.envelope?.bytes, let envelope {
      // What is in the pipe needs no daemon any more. What is not waits here until the container has read.
      facts.isPartlyReleased = envelope.reserve(bytes.count) ? nil : true
    }
    facts.deadlineNanoseconds = facts.timeoutNanoseconds.map { (Loop.now + .nanoseconds($0)).nanoseconds }
    do throws(SystemError) {
      try await keep(.released)
    } catch {
      container.close()
      throw .failed(Self.unkept(error, "it was not released"))
    }
    Checkpoint.releasedFacts.pass()
    return container
  }

  /// Not before it is needed: of many that wait for podman each would hold a descriptor, and each start of a process is
  /// slower for every descriptor that there is.
  @inline(never) private func openEnvelope() async throws(SystemError) {
    let raw = try await host.worker.run { [directory] () throws(SystemError) in
      try directory.openEnvelope().release()
    }
    envelope = try Stream(Descriptor(owning: raw), .write)
  }

  private static func unkept(_ error: SystemError, _ what: String) -> String {
    "What the next daemon would have to know of the session could not be written (\(error)), so \(what): "
      + "see to the runtime directory."
  }

  /// The image's id, pulled when it is missing. A stop does not wait for a pull, which goes on for others.
  @inline(never) private func findImage() async throws(Interruption) -> ImageIdentity {
    guard !stopRequested else { throw .stopped }
    let answers = Inbox<Result<ImageIdentity, EngineError>?>(capacity: 2)
    onStop = { answers.post(nil) }
    defer { onStop = nil }
    Loop.spawn { [host, reference = metadata.image] in
      do throws(EngineError) {
        answers.post(.success(try await host.containers.image(reference)))
      } catch {
        answers.post(.failure(error))
      }
    }
    switch await answers.next() {
    case nil: throw .stopped
    case .success(let image):
      metadata.imageDigest = image.digest ?? "sha256:\(image.id)"
      return image
    case .failure(let error): throw .failed("The image cannot be used: \(error).")
    }
  }

  /// What is to be cloned, as it is on the remote now; nil where the container asks the remote itself. A stop does not
  /// wait for git, which goes on only for others. Nor does the session's timeout: what hung in the container would not
  /// outlast it either. It counts anew from the release.
  @inline(never) private func fetchRepository(
    for profile: Profile, _ arrival: Mirrors.Arrival?
  ) async throws(Interruption) -> String? {
    guard profile.repositoryCache, let mirrors = host.mirrors else {
      arrival?.end()
      return nil
    }
    enter(.fetch)
    let answers = Inbox<Result<String, MirrorFailure>?>(capacity: 2)
    var isGivenUp = false
    let giveUp: @Loop () -> Void = { [session = id.description] in
      guard !isGivenUp else { return }
      isGivenUp = true
      mirrors.abandon(session)
      answers.post(nil)
    }
    onStop = giveUp
    let timeout = facts.timeoutNanoseconds.map { Timer(after: .nanoseconds($0), giveUp) }
    defer {
      onStop = nil
      timeout?.cancel()
    }
    let token = takeCloneToken()
    Loop.spawn { [repository, session = id.description] in
      // From here on it is among those who have asked: nothing runs between this and its wish.
      arrival?.end()
      guard !isGivenUp else { return }
      do throws(MirrorFailure) {
        answers.post(
          .success(
            try await mirrors.clone(repository, profile: profile.name, token: token, for: session)))
      } catch {
        answers.post(.failure(error))
      }
    }
    switch await answers.next() {
    case .success(let path): return path
    case nil: throw stopRequested ? .stopped : .timedOut
    case .failure(let error): throw .notFetched("could not clone \(repository): \(error)")
    }
  }

  @inline(never) private func launch(
    _ profile: Profile, _ image: ImageIdentity, _ mirror: String?
  ) async throws(Interruption) {
    guard !stopRequested else { throw .stopped }
    // Runs as soon as this task waits: by then podman was started, if its turn had come.
    #if DEBUG
      Loop.spawn { Checkpoint.midLaunch.pass() }
    #endif
    let withdrawal = Withdrawal()
    onStop = { withdrawal.request() }
    defer { onStop = nil }
    isLaunched = true
    do throws(LaunchFailure) {
      try await host.containers.launch(containerName, unless: withdrawal) {
        self.containerLaunch(profile, image, mirror)
      }
    } catch {
      switch error {
      case .withdrawn:
        isLaunched = false
        throw .stopped
      case .notStarted(let sentence):
        isLaunched = false
        throw .failed("The container was not started: \(sentence).")
      case .noShell: throw .noShell
      case .imageMissing:
        // It was removed since it was found. The next session asks podman again.
        host.containers.forgetImage(metadata.image)
        throw .failed("The image \(metadata.image) was removed while the session began: run it again.")
      case .nameInUse: throw .failed("The container was not started: \(error).")
      case .killed:
        await HalfMadeContainers(host: host, log: log).end { $0 == containerName }
        throw .stopped
      case .other:
        await HalfMadeContainers(host: host, log: log).end { $0 == containerName }
        throw .failed("The container was not started: \(error).")
      }
    }
  }

  @inline(never) private func containerLaunch(
    _ profile: Profile, _ image: ImageIdentity, _ mirror: String?
  ) -> ContainerLaunch {
    var mounts = [
      BindMount(source: directory.envelopePath, target: SetupScript.envelopePath, isRelabelled: true),
      BindMount(source: directory.reportPath, target: SetupScript.reportPath, isRelabelled: true),
      BindMount(
        source: profile.methodologyDirectory, target: SetupScript.methodologyPath, isReadOnly: true,
        isRelabelled: true),
      BindMount(
        source: record.runaPath, target: SetupScript.runaPath(profile: profile.name), isRelabelled: true),
    ]
    if let mirror {
      mounts.append(
        BindMount(
          source: mirror, target: SetupScript.mirrorPath, isReadOnly: true, isRelabelled: true))
    }
    mounts += profile.mounts.map { BindMount(source: $0.source, target: $0.target, isReadOnly: $0.readOnly) }
    let home = SetupScript.home(profile: profile.name) + "/"
    return ContainerLaunch(
      name: containerName, image: image.id, conmonPidFile: directory.conmonPidPath,
      pidFile: directory.containerPidPath, consoleLog: record.consoleLogPath,
      labels: [
        ("agentd.daemon", host.daemonID), ("agentd.session", id.description),
        ("agentd.profile", profile.name),
      ],
      mounts: mounts, script: SetupScript.text,
      arguments: SetupScript.arguments(
        profile: profile.name, isMirrored: mirror != nil,
        pruned: profile.mounts.map(\.target).filter { $0.hasPrefix(home) },
        command: profile.command))
  }

  // MARK: A container that runs

  /// Follows a container to its end, whichever daemon released it.
  @inline(never) private func supervise(_ held: HeldContainer) async -> Ending {
    defer { held.close() }
    var end = ContainerEnd.unwatched
    if let container = held.process { end = await watch(container, held.conmon) }
    return await judge(held, end)
  }

  @inline(never) private func judge(_ held: HeldContainer, _ end: ContainerEnd) async -> Ending {
    isOver = true
    canBeLeft = false
    guard end != .refusesToEnd else {
      return .failed(
        reason: "The container did not end \(Self.killPatience.components.seconds) s after SIGKILL.")
    }
    if end != .unwatched { endTime = Loop.wallClock }
    // What follows reads what conmon and podman's own cleanup leave behind: the last output and the exit code.
    if let conmon = held.conmon {
      let patience = Timer(after: Self.conmonPatience) { conmon.close() }
      await conmon.wait()
      patience.cancel()
    }
    return await judge(held.process?.status, end)
  }

  /// How watching a container came to its end.
  private enum ContainerEnd {
    /// It had ended before it could be watched.
    case unwatched
    case exited
    case exitedAfterDeadline
    /// Its envelope could not be written, so it was killed.
    case notReleased
    /// Its conmon ended first, so it was killed, or could not write and ended of that.
    case unrecorded
    /// It is still there after SIGKILL.
    case refusesToEnd
  }

  /// Releases the container and returns when it has ended.
  @inline(never) private func watch(_ container: Process, _ conmon: Process?) async -> ContainerEnd {
    let events = Inbox<Event>(capacity: 8)
    var timers: [Timer] = []
    container.onExit = { events.post(.exited) }
    // An ordinary end is the container's first, and conmon's after it.
    conmon?.onExit = { if !container.isEnding { events.post(.conmonEnded) } }
    onStop = { events.post(.stop) }
    let reports = try? host.reports.watch(directory.reportPath) { [weak self] in self?.readReport() }
    defer {
      onStop = nil
      for timer in timers { timer.cancel() }
      if let reports { host.reports.forget(reports) }
      envelope?.close()
      conmon?.onExit = nil
    }
    // All of it may have happened before anybody listened.
    if container.hasEnded {
      events.post(.exited)
    } else if conmon?.hasEnded ?? true {
      events.post(.conmonEnded)
    }
    if stopRequested { events.post(.stop) } else { release(events) }
    if let deadline = facts.deadline { timers.append(Timer(at: deadline) { events.post(.deadline) }) }

    var ending: Event?
    var conmonWasFirst = false
    func end(_ reason: Event, with signal: Int32) {
      guard ending == nil else { return }
      ending = reason
      send(signal, to: container)
      timers.append(Timer(after: Self.stopGrace) { events.post(.graceOver) })
    }
    while true {
      switch await events.next() {
      case .exited:
        switch ending {
        case .deadline: return .exitedAfterDeadline
        case .notReleased: return .notReleased
        case .conmonEnded: return .unrecorded
        case nil where conmonWasFirst:
          if case .signaled = conmon?.readStatus() { return .unrecorded }
          return .exited
        case .exited, .stop, .graceOver, .patienceOver, nil: return .exited
        }
      case .conmonEnded:
        // One that has ended too is killed by nobody: it could not write any more, or it ended by itself just before.
        guard container.isAlive else {
          conmonWasFirst = true
          continue
        }
        fail("supervise", "conmon ended before its container, which was killed")
        end(.conmonEnded, with: SIGKILL)
        // Who had begun to end it anyway still wants its code.
        if case .conmonEnded = ending { container.forgoStatus() } else { send(SIGKILL, to: container) }
      case .stop:
        note(.stop)
        end(.stop, with: SIGTERM)
      case .deadline:
        note(.deadline)
        end(.deadline, with: SIGTERM)
      case .notReleased(let error):
        fail("release", "the envelope could not be written: \(error)")
        end(.notReleased(error), with: SIGKILL)
      case .graceOver:
        send(SIGKILL, to: container)
        timers.append(Timer(after: Self.killPatience) { events.post(.patienceOver) })
      case .patienceOver:
        fail("stop", "the container did not end after SIGKILL")
        return .refusesToEnd
      }
    }
  }

  private func release(_ events: Inbox<Event>) {
    // Nothing is to be written when an earlier daemon has released it, or when its end has come first.
    guard facts.step == .released, let envelope, let bytes = takeEnvelope() else { return }
    Loop.spawn {
      do throws(StreamError) {
        // Without a bound of its own: what is more than the pipe holds is read after the clone, however long that is.
        try await envelope.write(bytes)
        Checkpoint.released.pass()
        self.isWritten = true
        if self.facts.isPartlyReleased != nil {
          self.facts.isPartlyReleased = nil
          self.keepInPassing()
        }
        self.judgeWhetherLeft()
      } catch {
        // Closed by the end of the container, which tells by itself.
        if error != .closed { events.post(.notReleased(error)) }
      }
    }
  }

  /// All of the envelope is in the pipe, and the container has the pipe: what is in one goes with the last who has it open.
  private func judgeWhetherLeft() {
    guard isWritten, holdsEnvelope, !isOver, phase == .setup || phase == .command else { return }
    // A descriptor less for as long as the session lives.
    envelope?.close()
    envelope = nil
    canBeLeft = true
  }

  /// So that the next daemon ends it, too, should this one end before the session does.
  func note(_ end: Facts.RequestedEnd) {
    guard facts.requestedEnd == nil else { return }
    facts.requestedEnd = end
    keepInPassing()
  }

  /// Keeps what the facts say by now. The session does not wait for it.
  private func keepInPassing() {
    Loop.spawn {
      do throws(SystemError) {
        try await self.keep(self.facts.step)
      } catch {
        self.fail("facts", "\(error)")
      }
    }
  }

  private func send(_ signal: Int32, to container: Process) {
    do throws(SystemError) {
      try container.signal(signal)
    } catch {
      fail("stop", "\(error)")
    }
  }

  /// The report is a small file that was just written: its page is in memory, so reading it waits for no disk.
  private func readReport(writtenAt time: Timestamp? = nil) {
    let report = directory.report()
    if let commit = report.commit { metadata.commit = commit }
    if report.phase > .preparing, !holdsEnvelope {
      holdsEnvelope = true
      judgeWhetherLeft()
    }
    if report.isMirrorBroken { host.mirrors?.suspect(repository, profile: profile) }
    guard report.phase == .command, phase == .setup else { return }
    enter(.command, at: time ?? Loop.wallClock)
    // It has its clone: what it was made of goes, which is still mounted.
    Loop.spawn { [host, session = id.description] in await host.mirrors?.release(session) }
    Checkpoint.command.pass()
  }

  // MARK: What the end means

  private static let unrecorded =
    "The container's conmon, which writes its output down, was ended before the container, so the container was"
    + " killed: see who ended it, or whether memory ran out."

  @inline(never) private func judge(_ status: ExitStatus?, _ end: ContainerEnd) async -> Ending {
    readReport()
    let code: Int32?
    if let status {
      code = status.code
    } else {
      let exit = await exitFromPodman()
      code = exit?.state == .dead ? exit?.code : nil
      // Nobody has told podman of its end, or it has not come: its conmon was gone before anybody watched.
      if end == .unwatched, exit?.state == .live { return .failed(reason: Self.unrecorded) }
    }
    switch end {
    case .exitedAfterDeadline: return .timedOut(code: code)
    case .notReleased:
      return .failed(reason: "The session's envelope could not be written, so its container was killed.")
    case .unrecorded: return .failed(reason: Self.unrecorded)
    case .exited, .unwatched, .refusesToEnd:
      var wasCut = false
      if case .released = beginning { wasCut = facts.isPartlyReleased == true }
      return Ending(
        code: code, report: directory.report(), wasCut: wasCut, wasStopped: stopRequested,
        image: metadata.image)
    }
  }

  /// podman keeps a code for containers that still run, too: it means something only once they are dead.
  private func exitFromPodman() async -> ContainerExit? {
    do throws(EngineError) {
      guard let exit = try await host.containers.exit(of: containerName) else { return nil }
      if exit.state == .dead, endTime == nil {
        endTime = exit.finished.flatMap { Timestamp(rfc3339: $0) }
      }
      return exit
    } catch {
      fail("exit_code", "\(error)")
      return nil
    }
  }
}
