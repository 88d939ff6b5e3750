// What a session puts down for the next daemon, step by step.

internal import Reactor
internal import SystemPackage

extension Session {
  /// How often it is tried where somebody removes the journal.
  private static let keepAttempts = 3

  /// Puts the facts, and that it takes this step, where the next daemon finds them. Where the journal was lost they are written
  /// whole again.
  func keep(_ step: Facts.Step) async throws(SystemError) {
    facts.step = step
    for _ in 0..<Self.keepAttempts {
      // Of what only a record tells there are no facts, or none that can be read.
      let isWhole = facts.profile == nil || host.journal.mayLack(place)
      let record = facts.journalRecord(isWhole: isWhole)
      let file = host.journal.hold(for: record.count)
      let directory = isWhole ? directory : nil
      var isKept = false
      defer { if !isKept { host.discard(host.journal.release(file.number)) } }
      let isWritten: Bool
      if host.isRuntimeInMemory {
        // By a call of its own: what is handed over is copied.
        isWritten = try Self.append(record, to: file, restoring: directory)
      } else {
        isWritten = try await host.worker.run { () throws(SystemError) in
          try Self.append(record, to: file, restoring: directory)
        }
      }
      guard isWritten else {
        host.journal.lose(file)
        continue
      }
      host.journal.notice(file)
      guard isWhole || !host.journal.mayLack(place) else { continue }
      isKept = true
      return host.discard(host.journal.move(&place, to: file.number, isWhole: isWhole))
    }
    throw SystemError("write \(host.runtimeDirectory.path)", .noSuchFileOrDirectory)
  }

  private nonisolated static func append(
    _ record: [UInt8], to file: JournalFile, restoring directory: PrivateDirectory?
  ) throws(SystemError) -> Bool {
    // It is what shows that there is a session.
    try directory?.restore()
    return try file.append(record)
  }

  /// Notes why it is told to end, so that the next daemon ends it, too, should this one end before the session does.
  func note(_ end: Facts.RequestedEnd) {
    guard facts.requestedEnd == nil else { return }
    facts.requestedEnd = end
    keepInPassing()
  }

  /// Keeps what the facts say by now. The session does not wait for it.
  func keepInPassing() {
    Loop.spawn {
      do throws(SystemError) {
        try await self.keep(self.facts.step)
      } catch {
        self.fail("facts", "\(error)")
      }
    }
  }
}
