// After the container: removing what the session had, and sealing its record.

internal import Audit
internal import Engine
internal import Reactor
internal import Time

extension Session {
  /// Entries sealed in one step: about a millisecond, in which a short job of another session may have to wait.
  private nonisolated static let sealStep = 256
  /// How long sealing may take inside the user namespace.
  private static let unshareDeadline: Duration = .seconds(600)

  /// What is known of a session whose container was to be removed.
  struct Departure: Sendable {
    let conclusion: Conclusion
    /// Why something of it is still there.
    let problem: String?
  }

  /// What came of sealing a record.
  struct Sealed: Sendable {
    /// Why it could not be done.
    var problem: String?
    /// The last session.json, where it was put on the disk beside it.
    var staged: Sealing.Staged?
  }

  /// Removes the container, if podman was ever asked for one.
  ///
  /// What is quiet is sealed while podman removes the container, and how it ended is staged beside its session.json. So, as
  /// a rule, the outcome is on the disk when the container has gone, and has only to get its name. All else waits until
  /// nobody can write into it.
  @inline(never) func removeContainer(_ conclusion: Conclusion) async -> Departure {
    let problem = await tearDown {
      guard self.isQuiet else { return }
      self.earlySeal = self.host.sealEarly { await self.sealTree(staging: conclusion) }
    }
    return Departure(conclusion: conclusion, problem: problem)
  }

  /// Completes the record of a session that has been removed, in an order in which the next daemon can go on anywhere.
  ///
  /// The private directory is the last to go, and the session with it for the next daemon: between the seal and the publishing
  /// nothing but its facts holds the outcome.
  ///
  /// - Returns: why the record is incomplete, as sentences. Facts then stay, and the next daemon tries again.
  @inline(never) func leave(_ departure: Departure) async -> [String] {
    let early = await earlySeal?.value
    earlySeal = nil
    if let left = departure.problem { return [left] }
    if await !isComplete() {
      let sealed = if let early { early } else { await sealTree() }
      if let problem = sealed.problem { return [incomplete(problem)] }
      if let problem = await publish(departure.conclusion, sealed.staged) { return [incomplete(problem)] }
    }
    // Its facts are of no session once the directory has gone.
    let unneeded = host.journal.leave(place)
    do throws(SystemError) {
      try await host.onRuntimeDirectory { [directory] () throws(SystemError) in
        defer { for file in unneeded { file.remove() } }
        try directory.removeWhenComplete()
      }
      Checkpoint.directoryRemoved.pass()
    } catch {
      fail("teardown", "\(error)")
    }
    return []
  }

  /// Whether an earlier daemon has come as far as to publish the record.
  private func isComplete() async -> Bool {
    guard case .ended = beginning else { return false }
    return await host.worker.run { [record] in record.standing } == .complete
  }

  /// - Parameter onBegin: called when it is the container's turn to be removed, if it ever is.
  @inline(never) private func tearDown(_ onBegin: @escaping @Loop () -> Void) async -> String? {
    envelope?.close()
    envelope = nil
    do throws(EngineError) {
      if isLaunched { try await host.containers.remove(containerName, onBegin: onBegin) }
    } catch {
      fail("teardown", "\(error)")
      return "The container \(containerName) was not removed (\(error)), so the record stays open."
    }
    onVacated?()
    Checkpoint.removed.pass()
    await host.mirrors?.release(id.description)
    return nil
  }

  private func incomplete(_ problem: String) -> String {
    fail("seal", problem)
    return "The record is incomplete: \(problem)"
  }

  /// Makes all of the record read-only but its metadata.
  ///
  /// - Parameter conclusion: how the session ended, to be put on the disk with it; nil where it is published next anyway.
  @inline(never) private func sealTree(staging conclusion: Conclusion? = nil) async -> Sealed {
    let sealing = Sealing(of: record, staging: conclusion.map(metadataToStage))
    do throws(AuditError) {
      var isDone = false
      while !isDone {
        isDone = try await host.worker.runSteps { () throws(AuditError) in
          try sealing.step(entries: Self.sealStep)
        }
      }
    } catch {
      guard case .foreignOwner = error else { return Sealed(problem: "\(error)") }
      if let problem = await sealInUserNamespace() { return Sealed(problem: problem) }
    }
    Checkpoint.sealed.pass()
    return Sealed(staged: sealing.staged)
  }

  /// What session.json will say, but for when the last phases end, which is put at now. Moments are of one length, so that
  /// is no matter to the size.
  private func metadataToStage(_ conclusion: Conclusion) -> Metadata {
    let now = Loop.wallClock
    var staged = metadata
    staged.course.beginPhase(SessionPhase.seal.rawValue, at: now)
    staged.course.conclude(conclusion, at: now)
    return staged
  }

  /// Under rootless podman the agent's files belong to sub-uids, which only root of the user namespace may change.
  @inline(never) private func sealInUserNamespace() async -> String? {
    do throws(EngineError) {
      let result = try await host.containers.unshare(
        host.sealCommand + [record.path], deadline: Self.unshareDeadline)
      guard !result.succeeded else { return nil }
      let words = LaunchFailure.lastWords(String(decoding: result.standardError, as: UTF8.self))
      return words.isEmpty ? "sealing in the user namespace ended with \(result.status)" : words
    } catch {
      return "\(error)"
    }
  }

  /// Gives the record its outcome: it is complete then.
  @inline(never) private func publish(_ conclusion: Conclusion, _ staged: Sealing.Staged?) async -> String? {
    course.conclude(conclusion, at: Loop.wallClock)
    do throws(AuditError) {
      try await host.worker.run {
        [worker = host.worker, profiles = host.profiles, record, metadata, isOnDisk] () throws(AuditError) in
        if !isOnDisk { try record.synchronize(in: profiles) }
        // Let go later: others of the same removal wait to be published.
        if let replaced = try record.publish(metadata, staged: staged) {
          worker.whenIdle { withExtendedLifetime(replaced) {} }
        }
      }
      Checkpoint.published.pass()
      return nil
    } catch {
      return "\(error)"
    }
  }
}

extension Metadata.Course {
  /// Says how the session ended, and that its last phase is over.
  fileprivate mutating func conclude(_ conclusion: Conclusion, at moment: Timestamp) {
    outcome = conclusion.outcome.label
    exitCode = conclusion.exitCode
    signal = conclusion.signal
    error = conclusion.reason
    endPhase(at: moment)
  }
}
