// From a container that is watched to its end: release, watch, stop, and what the end means.

internal import Engine
internal import Glibc
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
      // With its init all of a container's processes end. A conmon that ran out of patience may still write.
      isQuiet = end != .unwatched && conmon.isEnding
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
