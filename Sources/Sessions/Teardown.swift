// After the container: removing what the session had, and sealing its record.

internal import Audit
internal import Engine
internal import Reactor

extension Session {
  /// Entries sealed in one step: about a millisecond, in which a short job of another session may have to wait.
  private nonisolated static let sealStep = 256
  /// How long sealing may take inside the user namespace.
  private static let unshareDeadline: Duration = .seconds(600)

  /// Removes the container and then the private directory.
  func tearDown(_ problems: inout [String]) async {
    envelope?.close()
    envelope = nil
    do throws(EngineError) {
      try await host.containers.remove(containerName)
    } catch {
      fail("teardown", "\(error)")
      problems.append("The container \(containerName) was not removed (\(error)), so the record stays open.")
      return
    }
    do throws(SystemError) {
      try await host.worker.run { [directory] () throws(SystemError) in try directory.remove() }
    } catch {
      fail("teardown", "\(error)")
      problems.append("The private directory was not removed (\(error)), so the record stays open.")
    }
  }

  /// Makes the record read-only, its metadata last.
  func seal(_ conclusion: inout Conclusion, _ problems: inout [String]) async {
    do {
      try await sealTree()
      metadata.outcome = conclusion.outcome.label
      metadata.exitCode = conclusion.exitCode
      metadata.signal = conclusion.signal
      metadata.error = conclusion.reason
      metadata.phases[metadata.phases.count - 1].endTimestamp = Loop.wallClock
      try await host.worker.run { [record, metadata] () throws(AuditError) in try record.publish(metadata) }
    } catch {
      fail("seal", "\(error)")
      problems.append("The record is incomplete: \(error)")
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
