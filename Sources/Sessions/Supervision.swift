// From a container that is watched to what its end means: its release, its report, conmon, the exit code.

internal import Engine
internal import Reactor
internal import Time

extension Session {
  /// How long conmon may take to write the last output and clean up after a container has ended.
  static let conmonPatience: Duration = .seconds(30)

  // MARK: A container that runs

  /// Follows a container to its end, whichever daemon released it.
  func supervise(_ held: HeldContainer) {
    guard let container = held.process else { return awaitConmon(held, .unwatched) }
    Watching(self, container, held.conmon) { self.awaitConmon(held, $0) }.begin()
  }

  /// What follows reads what conmon and podman's own cleanup leave behind: the last output and the exit code.
  private func awaitConmon(_ held: HeldContainer, _ end: Watching.End) {
    isOver = true
    canBeLeft = false
    if end != .unwatched, end != .refusesToEnd { endTime = Loop.wallClock }
    guard end != .refusesToEnd, let conmon = held.conmon else { return self.end(held, end) }
    guard !conmon.hasEnded else { return conmonEnded(held, end) }
    let patience = Timer(after: Self.conmonPatience) { self.conmonEnded(held, end) }
    conmon.onExit = {
      patience.cancel()
      self.conmonEnded(held, end)
    }
  }

  private func conmonEnded(_ held: HeldContainer, _ end: Watching.End) {
    held.conmon?.onExit = nil
    // With its init all of a container's processes end. A conmon that ran out of patience may still write.
    isQuiet = end != .unwatched && held.conmon?.hasEnded == true
    self.end(held, end)
  }

  private func end(_ held: HeldContainer, _ end: Watching.End) {
    // As it is now. It may be a while until its turn comes, and what is asked for meanwhile comes too late.
    readReport()
    let wasStopped = stopRequested
    self.end {
      defer { held.close() }
      guard end != .refusesToEnd else {
        return .failed(
          reason: "The container did not end \(Watching.killPatience.components.seconds) s after SIGKILL.")
      }
      return await self.judge(held.process?.status, end, wasStopped: wasStopped)
    }
  }

  /// Writes the envelope into its FIFO, where that is still to be done.
  ///
  /// - Parameter onFailure: called when it could not be written, while the container is there.
  func release(_ onFailure: @escaping @Loop () -> Void) {
    // Nothing is to be written when an earlier daemon has released it, or when its end has come first.
    guard facts.step == .released, let envelope, let bytes = takeEnvelope() else { return }
    do throws(StreamError) {
      // At once, before anything else has its turn: a container waits for it.
      let rest = try envelope.writeAtOnce(bytes[...])
      guard !rest.isEmpty else { return wasReleased() }
      Loop.spawn {
        do throws(StreamError) {
          // Without a bound of its own: what is more than the pipe holds is read after the clone, however long that is.
          try await envelope.write(rest)
          self.wasReleased()
        } catch {
          self.wasNotReleased(error, onFailure)
        }
      }
    } catch {
      // Its owner is not done with beginning to watch.
      Loop.spawn { self.wasNotReleased(error, onFailure) }
    }
  }

  private func wasReleased() {
    Checkpoint.released.pass()
    isWritten = true
    if facts.isPartlyReleased != nil {
      facts.isPartlyReleased = nil
      keepInPassing()
    }
    judgeWhetherLeft()
  }

  private func wasNotReleased(_ error: StreamError, _ onFailure: @Loop () -> Void) {
    // Closed by the end of the container, which tells by itself.
    guard error != .closed else { return }
    fail("release", "the envelope could not be written: \(error)")
    onFailure()
  }

  /// All of the envelope is in the pipe, and the container has the pipe: what is in one goes with the last who has it open.
  private func judgeWhetherLeft() {
    guard isWritten, holdsEnvelope, !isOver, phase == .setup || phase == .command else { return }
    // A descriptor less for as long as the session lives.
    envelope?.close()
    envelope = nil
    canBeLeft = true
  }

  /// The report is a small file that was just written: its page is in memory, so reading it waits for no disk.
  func readReport(writtenAt time: Timestamp? = nil) {
    // The command is the last that it tells of.
    guard report?.phase != .command else { return }
    let report = directory.report()
    self.report = report
    if let commit = report.commit { course.commit = commit }
    if report.phase > .preparing, !holdsEnvelope {
      holdsEnvelope = true
      judgeWhetherLeft()
    }
    if report.isMirrorBroken { host.mirrors?.suspect(repository, profile: profile) }
    guard report.phase == .command, phase == .setup else { return }
    enter(.command, at: time ?? Loop.wallClock)
    // It has its clone: what it was made of goes, which is still mounted.
    if let mirrors = host.mirrors {
      Loop.spawn { [session = id.description] in await mirrors.release(session) }
    }
    Checkpoint.command.pass()
  }

  // MARK: What the end means

  private static let unrecorded =
    "The container's conmon, which writes its output down, was ended before the container, so the container was"
    + " killed: see who ended it, or whether memory ran out."

  @inline(never) private func judge(
    _ status: ExitStatus?, _ end: Watching.End, wasStopped: Bool
  ) async -> Ending {
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
        code: code, report: report, wasCut: wasCut, wasStopped: wasStopped, image: metadata.image)
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
