// After the container: removing what the session had, and sealing its record.

internal import Audit
internal import Engine
internal import Reactor

extension Session {
  /// Entries sealed in one step: about a millisecond, in which a short job of another session may have to wait.
  private nonisolated static let sealStep = 256
  /// How long sealing may take inside the user namespace.
  private static let unshareDeadline: Duration = .seconds(600)

  /// What is known of a session whose container was to be removed.
  struct Departure: Sendable {
    let conclusion: Conclusion
    /// Why something of it is still there.
    var problem: String?
    /// The sealing that was begun beside it, and what came of it.
    let sealed: Task<String?, Never>?
  }

  /// Removes the container, if podman was ever asked for one, and then all of the private directory but the facts.
  ///
  /// What is quiet is sealed while podman removes the container. All else waits until nobody can write into it.
  @inline(never) func removeContainer(_ conclusion: Conclusion) async -> Departure {
    let sealed = isQuiet ? host.sealEarly { await self.sealTree() } : nil
    return Departure(conclusion: conclusion, problem: await tearDown(), sealed: sealed)
  }

  /// Completes the record of a session that has been removed, in an order in which the next daemon can go on anywhere.
  ///
  /// The facts are the last to go: between the seal and the publishing nothing else holds the outcome.
  ///
  /// - Returns: why the record is incomplete, as sentences. Facts then stay, and the next daemon tries again.
  @inline(never) func leave(_ departure: Departure) async -> [String] {
    let problem = await departure.sealed?.value
    if let left = departure.problem { return [left] }
    if await !isComplete() {
      if let problem = departure.sealed == nil ? await sealTree() : problem { return [incomplete(problem)] }
      if let problem = await publish(departure.conclusion) { return [incomplete(problem)] }
    }
    do throws(SystemError) {
      try await host.onRuntimeDirectory { [directory] () throws(SystemError) in try directory.removeEmptied() }
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

  @inline(never) private func tearDown() async -> String? {
    envelope?.close()
    envelope = nil
    do throws(EngineError) {
      if isLaunched { try await host.containers.remove(containerName) }
    } catch {
      fail("teardown", "\(error)")
      return "The container \(containerName) was not removed (\(error)), so the record stays open."
    }
    onVacated?()
    Checkpoint.removed.pass()
    await host.mirrors?.release(id.description)
    do throws(SystemError) {
      try await host.onRuntimeDirectory { [directory] () throws(SystemError) in try directory.empty() }
    } catch {
      fail("teardown", "\(error)")
      return "The private directory was not removed (\(error)), so the record stays open."
    }
    Checkpoint.directoryRemoved.pass()
    return nil
  }

  private func incomplete(_ problem: String) -> String {
    fail("seal", problem)
    return "The record is incomplete: \(problem)"
  }

  /// Makes all of the record read-only but its metadata.
  ///
  /// - Returns: why it could not be done.
  @inline(never) private func sealTree() async -> String? {
    do throws(AuditError) {
      var (sealing, isDone) = try await host.worker.run { [record] () throws(AuditError) in
        let sealing = try Sealing(record: record)
        return (sealing, try sealing.step(entries: Self.sealStep))
      }
      while !isDone {
        isDone = try await host.worker.runSteps { [sealing] () throws(AuditError) in
          try sealing.step(entries: Self.sealStep)
        }
      }
    } catch {
      guard case .foreignOwner = error else { return "\(error)" }
      if let problem = await sealInUserNamespace() { return problem }
    }
    Checkpoint.sealed.pass()
    return nil
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
  @inline(never) private func publish(_ conclusion: Conclusion) async -> String? {
    metadata.outcome = conclusion.outcome.label
    metadata.exitCode = conclusion.exitCode
    metadata.signal = conclusion.signal
    metadata.error = conclusion.reason
    metadata.endPhase(at: Loop.wallClock)
    do throws(AuditError) {
      try await host.worker.run { [record, metadata, isOnDisk] () throws(AuditError) in
        if !isOnDisk { try record.synchronize() }
        try record.publish(metadata)
      }
      Checkpoint.published.pass()
      return nil
    } catch {
      return "\(error)"
    }
  }
}
