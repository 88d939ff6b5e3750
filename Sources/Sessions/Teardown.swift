// After the container: removing what the session had, and sealing its record.

internal import Audit
internal import Engine
internal import Reactor

extension Session {
  /// Entries sealed in one step: about a millisecond, in which a short job of another session may have to wait.
  private nonisolated static let sealStep = 256
  /// How long sealing may take inside the user namespace.
  private static let unshareDeadline: Duration = .seconds(600)

  /// Removes what the session had and completes its record, in an order in which the next daemon can go on anywhere.
  ///
  /// The facts are the last to go: between the seal and the publishing nothing else holds the outcome.
  ///
  /// - Returns: why the record is incomplete, as sentences. Facts then stay, and the next daemon tries again.
  func leave(_ conclusion: Conclusion) async -> [String] {
    if let problem = await tearDown() { return [problem] }
    // An earlier daemon may have come as far as here.
    if await host.worker.run({ [record] in record.standing }) != .complete {
      enter(.seal)
      if let problem = await seal(conclusion) { return [problem] }
    }
    do throws(SystemError) {
      try await host.worker.run { [directory] () throws(SystemError) in try directory.remove() }
    } catch {
      fail("teardown", "\(error)")
    }
    return []
  }

  /// Removes the container, if podman was ever asked for one, and then all of the private directory but the facts.
  private func tearDown() async -> String? {
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
      try await host.worker.run { [directory] () throws(SystemError) in try directory.empty() }
    } catch {
      fail("teardown", "\(error)")
      return "The private directory was not removed (\(error)), so the record stays open."
    }
    Checkpoint.directoryRemoved.pass()
    return nil
  }

  /// Makes the record read-only, its metadata last.
  private func seal(_ conclusion: Conclusion) async -> String? {
    do {
      try await sealTree()
      Checkpoint.sealed.pass()
      metadata.outcome = conclusion.outcome.label
      metadata.exitCode = conclusion.exitCode
      metadata.signal = conclusion.signal
      metadata.error = conclusion.reason
      metadata.endPhase(at: Loop.wallClock)
      try await host.worker.run { [record, metadata] () throws(AuditError) in try record.publish(metadata) }
      Checkpoint.published.pass()
      return nil
    } catch {
      fail("seal", "\(error)")
      return "The record is incomplete: \(error)"
    }
  }

  private func sealTree() async throws {
    do throws(AuditError) {
      let sealing = try await host.worker.run { [record] () throws(AuditError) in try Sealing(record: record)
      }
      while try await host.worker.run({ () throws(AuditError) in try sealing.step(entries: Self.sealStep) })
        == false
      {}
    } catch {
      guard case .foreignOwner = error else { throw error }
      try await sealInUserNamespace()
    }
  }

  /// Under rootless podman the agent's files belong to sub-uids, which only root of the user namespace may change.
  private func sealInUserNamespace() async throws(EngineError) {
    let result = try await host.containers.unshare(
      host.sealCommand + [record.path], deadline: Self.unshareDeadline)
    guard !result.succeeded else { return }
    let words = LaunchFailure.lastWords(String(decoding: result.standardError, as: UTF8.self))
    throw EngineError(
      description: words.isEmpty ? "sealing in the user namespace ended with \(result.status)" : words)
  }
}
