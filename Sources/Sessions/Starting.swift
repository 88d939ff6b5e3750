// From the queue to a container that is watched and may be released: image, fetch, launch.

internal import Audit
internal import Engine
internal import Profiles
internal import Reactor

extension Session {
  @inline(never) func ending(_ interruption: Interruption) -> Ending {
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

  /// Why a session has no container that could be watched.
  enum Interruption: Error {
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

  /// What a container is started with.
  private struct Parts {
    let profile: Profile
    let image: ImageIdentity
    let mirror: String?
  }

  /// Begins a session whose turn has come.
  func begin() {
    Loop.spawn {
      do throws(Interruption) {
        let parts = try await self.gather()
        self.awaitStart(parts)
      } catch {
        self.end { self.ending(error) }
      }
    }
  }

  /// What is needed before podman is asked for a container: the image, and the clone's source.
  private func gather() async throws(Interruption) -> Parts {
    if case .queued = beginning { try await leaveQueue() }
    tell(.info, "runner.session_started") { $0["repository"] = .string(repository) }
    let arrival = host.mirrors?.expect()
    defer { arrival?.end() }
    let image = try await findImage()
    guard !stopRequested, let profile = invocation?.profile else { throw .stopped }
    let mirror = try await fetchRepository(for: profile, arrival)
    Checkpoint.fetched.pass()
    guard !stopRequested else { throw .stopped }
    return Parts(profile: profile, image: image, mirror: mirror)
  }

  /// Waits, without a task, until its container may be started.
  private func awaitStart(_ parts: Parts) {
    enter(.launch)
    awaitsStart = true
    let line = host.starts(of: profile)
    onStop = { line.withdraw(self.id) }
    line.enter(id) { isMine in
      self.onStop = nil
      self.awaitsStart = false
      guard isMine else { return self.end { self.ending(.stopped) } }
      Loop.spawn {
        let started: Result<HeldContainer, Interruption>
        do throws(Interruption) {
          started = .success(try await self.start(parts))
        } catch {
          started = .failure(error)
        }
        line.leave()
        switch started {
        case .success(let container): self.supervise(container)
        case .failure(let interruption): self.end { self.ending(interruption) }
        }
      }
    }
  }

  /// Brings a prepared session to a container that is watched and may be released.
  @inline(never) private func start(_ parts: Parts) async throws(Interruption) -> HeldContainer {
    guard !stopRequested else { throw .stopped }
    Checkpoint.launching.pass()
    // While podman works: only the release has to wait for it.
    let synchronization = self.synchronization ?? synchronizeRecord()
    if let problem = synchronization.failure { throw .failed(Self.notOnDisk(problem)) }
    try await launch(parts)
    return try await hold(synchronization)
  }

  /// Begins to wait until the record is on the disk: what a command has done must not be without one, should the power fail.
  private func synchronizeRecord() -> Synchronization {
    let begun = Synchronization()
    synchronization = begun
    Loop.spawn { [host, record] in
      do throws(AuditError) {
        try await host.worker.run { [profiles = host.profiles] () throws(AuditError) in
          try record.synchronize(in: profiles)
        }
        begun.end(nil)
      } catch {
        begun.end("\(error)")
      }
    }
    return begun
  }

  /// Returns when the record is on the disk. A stop does not wait for that: what is to end is not released.
  @inline(never) private func awaitDisk(_ synchronization: Synchronization) async throws(Interruption) {
    guard !synchronization.isOnDisk else { return }
    let answers = Inbox<String??>(capacity: 2)
    onStop = { answers.post(.none) }
    defer { onStop = nil }
    Loop.spawn { answers.post(.some(await synchronization.problem())) }
    guard !stopRequested, let answer = await answers.next(), let problem = answer else { return }
    throw .failed(Self.notOnDisk(problem))
  }

  private static func notOnDisk(_ problem: String) -> String {
    "The session's record is not on the disk (\(problem)), so it was not released."
  }

  /// Watches the container that was just started, and prepares its release.
  @inline(never) private func hold(
    _ synchronization: Synchronization
  ) async throws(Interruption) -> HeldContainer {
    Checkpoint.launched.pass()
    enter(.setup)
    let pids = await host.onRuntimeDirectory { [directory] in directory.processIDs() }
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
    do throws(Interruption) {
      try await awaitDisk(synchronization)
    } catch {
      container.close()
      throw error
    }
    if isOnDisk { self.synchronization = .done }
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
    let raw = try await host.onRuntimeDirectory { [directory] () throws(SystemError) in
      try directory.openEnvelope().release()
    }
    envelope = Stream(writingTo: Descriptor(owning: raw))
  }

  private static func unkept(_ error: SystemError, _ what: String) -> String {
    "What the next daemon would have to know of the session could not be written (\(error)), so \(what): "
      + "see to the runtime directory."
  }

  /// The image's id, pulled when it is missing. A stop does not wait for a pull, which goes on for others.
  @inline(never) private func findImage() async throws(Interruption) -> ImageIdentity {
    guard !stopRequested else { throw .stopped }
    if let image = host.containers.image(metadata.image, rememberedFor: invocation?.imageStore) {
      course.imageDigest = image.digest ?? "sha256:\(image.id)"
      return image
    }
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
      course.imageDigest = image.digest ?? "sha256:\(image.id)"
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

  @inline(never) private func launch(_ parts: Parts) async throws(Interruption) {
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
        self.containerLaunch(parts.profile, parts.image, parts.mirror)
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
    let directory = directory
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
}
