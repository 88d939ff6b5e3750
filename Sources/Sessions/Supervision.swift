// From the image to the end of the container: launch, release, watch, stop.

internal import Engine
internal import Glibc
internal import Profiles
internal import Reactor

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
    case notReleased(StreamError)
    case deadline
    case stop
    case graceOver
    case patienceOver
  }

  /// Brings the session from nothing to the end of its container.
  func live() async -> Ending {
    do throws(Interruption) {
      let image = try await findImage()
      enter(.launch)
      try await launch(image)
      return await supervise()
    } catch {
      switch error {
      case .stopped: return .failed("The session was stopped before its container was started.")
      case .failed(let sentence): return .failed(sentence)
      case .noShell: return .setupFailed(SetupScript.failureCode, noShellSentence)
      }
    }
  }

  private enum Interruption: Error {
    case stopped
    case failed(String)
    case noShell
  }

  private var noShellSentence: String {
    "the image \(invocation.profile.baseImage) has no usable /bin/sh: add one to the profile's base_image"
  }

  /// The image's id, pulled when it is missing. A stop does not wait for a pull, which goes on for others.
  private func findImage() async throws(Interruption) -> ImageIdentity {
    guard !stopRequested else { throw .stopped }
    let answers = Inbox<Result<ImageIdentity, EngineError>?>(capacity: 2)
    onStop = { answers.post(nil) }
    defer { onStop = nil }
    Loop.spawn { [host, reference = invocation.profile.baseImage] in
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

  private func launch(_ image: ImageIdentity) async throws(Interruption) {
    guard !stopRequested else { throw .stopped }
    do throws(LaunchFailure) {
      try await host.containers.launch(containerLaunch(image))
    } catch {
      switch error {
      case .noShell: throw .noShell
      case .imageMissing:
        // It was removed since it was found. The next session asks podman again.
        host.containers.forgetImage(invocation.profile.baseImage)
        throw .failed(
          "The image \(invocation.profile.baseImage) was removed while the session began: run it again.")
      case .nameInUse, .other: throw .failed("The container was not started: \(error).")
      }
    }
  }

  private func containerLaunch(_ image: ImageIdentity) -> ContainerLaunch {
    let profile = invocation.profile
    var mounts = [
      BindMount(source: directory.envelopePath, target: SetupScript.envelopePath, isRelabelled: true),
      BindMount(source: directory.reportPath, target: SetupScript.reportPath, isRelabelled: true),
      BindMount(
        source: profile.methodologyDirectory, target: SetupScript.methodologyPath, isReadOnly: true,
        isRelabelled: true),
      BindMount(
        source: record.runaPath, target: SetupScript.runaPath(profile: profile.name), isRelabelled: true),
    ]
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
        profile: profile.name, pruned: profile.mounts.map(\.target).filter { $0.hasPrefix(home) },
        command: profile.command))
  }

  // MARK: A container that runs

  private func supervise() async -> Ending {
    enter(.setup)
    let pids = await host.worker.run { [directory] in directory.processIDs() }
    let conmon = pids.conmon.flatMap { try? Process(pid: $0, needsStatus: false) }
    defer { conmon?.close() }
    var end = ContainerEnd.unwatched
    var status: ExitStatus?
    do throws(SystemError) {
      if let container = try hold(pids.container, childOf: pids.conmon) {
        end = await watch(container)
        status = container.status
        container.close()
      }
    } catch {
      // It runs and nobody would see it end. The teardown kills it; it was never released.
      return .failed(
        "The container could not be watched (\(error)), so it was not released: raise the limits.")
    }
    guard end != .refusesToEnd else {
      return .failed("The container did not end \(Self.killPatience.components.seconds) s after SIGKILL.")
    }
    // What follows reads what conmon and podman's own cleanup leave behind: the last output and the exit code.
    if let conmon {
      let patience = Timer(after: Self.conmonPatience) { conmon.close() }
      await conmon.wait()
      patience.cancel()
    }
    return await judge(status, end)
  }

  /// How watching a container came to its end.
  private enum ContainerEnd {
    /// It had ended before it could be watched.
    case unwatched
    case exited
    case exitedAfterDeadline
    /// Its envelope could not be written, so it was killed.
    case notReleased
    /// It is still there after SIGKILL.
    case refusesToEnd
  }

  /// Holds the container's init by a pidfd. nil when it has ended already: its number may be another's by now, so it
  /// is believed only while conmon is its parent.
  private func hold(_ pid: Int32?, childOf conmon: Int32?) throws(SystemError) -> Process? {
    guard let pid, let conmon else { return nil }
    let process: Process
    do throws(SystemError) {
      process = try Process(pid: pid)
    } catch {
      guard error.errno != .noSuchProcess else { return nil }
      throw error
    }
    guard Process.parent(of: pid) == conmon else {
      process.close()
      return nil
    }
    return process
  }

  /// Releases the container and returns when it has ended.
  private func watch(_ container: Process) async -> ContainerEnd {
    let events = Inbox<Event>(capacity: 8)
    var timers: [Timer] = []
    container.onExit = { events.post(.exited) }
    onStop = { events.post(.stop) }
    let reports = try? host.reports.watch(directory.reportPath) { [weak self] in self?.readReport() }
    defer {
      onStop = nil
      for timer in timers { timer.cancel() }
      if let reports { host.reports.forget(reports) }
      envelope?.close()
    }
    // Both may have happened before anybody listened.
    if container.hasEnded { events.post(.exited) }
    if stopRequested { events.post(.stop) } else { release(events) }
    if let timeout = invocation.timeout { timers.append(Timer(after: timeout) { events.post(.deadline) }) }

    var ending: Event?
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
        case .exited, .stop, .graceOver, .patienceOver, nil: return .exited
        }
      case .stop: end(.stop, with: SIGTERM)
      case .deadline: end(.deadline, with: SIGTERM)
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
    guard let envelope, let bytes = takeEnvelope() else { return }
    Loop.spawn {
      do throws(StreamError) {
        // Without a bound of its own: what is more than the pipe holds is read after the clone, however long that is.
        try await envelope.write(bytes)
      } catch {
        // Closed by the end of the container, which tells by itself.
        if error != .closed { events.post(.notReleased(error)) }
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
  private func readReport() {
    let report = directory.report()
    metadata.commit = report.commit
    if report.phase == .command, phase == .setup { enter(.command) }
  }

  // MARK: What the end means

  private func judge(_ status: ExitStatus?, _ end: ContainerEnd) async -> Ending {
    readReport()
    let code: Int32?
    if let status { code = status.code } else { code = await exitCodeFromPodman() }
    switch end {
    case .exitedAfterDeadline: return .timedOut(code)
    case .notReleased:
      return .failed("The session's envelope could not be written, so its container was killed.")
    case .exited, .unwatched, .refusesToEnd: break
    }
    guard let code else {
      return .failed("How the container ended is not known: see the events of this session.")
    }
    if phase == .command || stopRequested { return .exited(code) }
    // It never came to the command. The setup has said why, unless it could not run at all.
    if code == SetupScript.failureCode { return .setupFailed(code, nil) }
    let report = directory.report()
    let sentence =
      code == 1 && report.phase == .preparing
      ? noShellSentence
      : "the container ended with exit code \(code) before its setup came to the command"
    return .setupFailed(SetupScript.failureCode, sentence)
  }

  /// podman keeps a code for containers that still run, too: it means something only once they are dead.
  private func exitCodeFromPodman() async -> Int32? {
    do throws(EngineError) {
      guard let exit = try await host.containers.exit(of: containerName), exit.state == .dead else {
        return nil
      }
      return exit.code
    } catch {
      fail("exit_code", "\(error)")
      return nil
    }
  }
}
