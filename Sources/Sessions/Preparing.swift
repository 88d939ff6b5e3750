// From a request to a session that can be run: an id that nobody has, its private directory, and its record.

internal import Audit
internal import Engine
internal import Profiles
internal import Reactor
internal import Time

extension Session {
  /// How often a session id that was drawn before is drawn anew.
  private static let collisionLimit = 4

  /// Makes the record and the private directory of a new session. When it throws, neither is left.
  ///
  /// - Parameter isQueued: whether it is to wait for `takeTurn` before it is run.
  /// - Throws: `SessionRefusal`, a sentence for whoever asked.
  public static func prepare(
    _ invocation: Invocation, isQueued: Bool = false, on host: SessionHost
  ) async throws(SessionRefusal) -> Session {
    var isMoved = false
    for _ in 0..<collisionLimit {
      let id = SessionID.random()
      guard
        let name = ContainerName(
          daemon: host.daemonID, profile: invocation.profile.name, session: id.description)
      else { throw SessionRefusal("The profile's name \(invocation.profile.name) cannot name a container.") }
      let facts = firstFacts(invocation, isQueued, id, name, on: host)
      let directory = PrivateDirectory(in: host.runtimeDirectory, session: id)
      let record = facts.journalRecord(isWhole: true)
      let file = host.journal.hold(for: record.count)
      // One that is to wait for its turn has its record brought to the disk then.
      let synchronization = isQueued ? nil : Synchronization()
      // All that waits for a disk in one go: each coming and going of the worker costs as much as a file. The session goes on
      // when its record is there, and only its release waits until that is on the disk.
      let (made, images) = await host.worker.run {
        [profiles = host.profiles, profile = invocation.profile, store = host.containers.images] in
        let (made, fresh) = make(directory, facts, record, to: file, profile, profiles)
        return ((made, store?.state), rest: { isQueued ? nil : synchronize(fresh) })
      } onRest: {
        synchronization?.end($0)
      }
      let place = Journal.Place(origin: file.number, progress: file.number)
      let session: Session
      if case .made = made {
        host.journal.notice(file)
      } else {
        let unneeded = host.journal.leave(place)
        await host.worker.run { for file in unneeded { file.remove() } }
      }
      switch made {
      case .collision: continue
      case .moved:
        do throws(SystemError) {
          try await host.reopenRuntimeDirectory()
        } catch {
          throw SessionRefusal(unmade("\(error)"))
        }
        isMoved = true
        continue
      case .failed(let sentence): throw SessionRefusal(sentence)
      case .made where isQueued:
        session = Session(
          host: host, id: id, containerName: name, facts: facts, at: place, beginning: .queued)
      case .made:
        var invocation = invocation
        invocation.imageStore = images
        session = Session(
          host: host, id: id, containerName: name, facts: facts, at: place, beginning: .prepared,
          invocation: invocation)
      }
      session.synchronization = synchronization
      return session
    }
    guard !isMoved else {
      throw SessionRefusal(unmade("others remove what it is in, or put others in its place"))
    }
    throw SessionRefusal(
      "No free session id was found in \(host.auditRoot): the kernel's random numbers repeat.")
  }

  private static func firstFacts(
    _ invocation: Invocation, _ isQueued: Bool, _ id: SessionID, _ name: ContainerName,
    on host: SessionHost
  ) -> Facts {
    let phase = isQueued ? SessionPhase.queued : .image
    let now = Loop.wallClock
    let metadata = Metadata(
      sessionID: id.description, daemonID: host.daemonID, profile: invocation.profile.name,
      repoURL: invocation.repository.text, workUnit: invocation.workUnit?.text,
      scheduledFor: invocation.scheduledFor, startTimestamp: now, image: invocation.profile.baseImage,
      phases: [.init(name: phase.rawValue, startTimestamp: now)])
    let record = Record(auditRoot: host.auditRoot, profile: metadata.profile, session: metadata.sessionID)
    return Facts(
      invocation, isQueued ? .queued : .prepared, containerName: name.description, record: record.path,
      accepted: Loop.now, metadata: metadata)
  }

  private enum Preparation: Sendable {
    case made
    case collision
    /// Another runtime directory is where the one was that is open, or the journal has gone.
    case moved
    case failed(String)
  }

  /// On the worker: the facts before the record, so that no record is without them.
  private nonisolated static func make(
    _ directory: PrivateDirectory, _ facts: Facts, _ record: [UInt8], to file: JournalFile,
    _ profile: Profile, _ profiles: OpenProfiles
  ) -> (Preparation, Record.Fresh?) {
    do throws(SessionRefusal) {
      try Invocation.requireFiles(of: profile)
    } catch {
      return (.failed(error.description), nil)
    }
    do throws(SystemError) {
      guard try directory.create() else { return (.moved, nil) }
      guard try file.append(record) else {
        try? directory.remove()
        return (.moved, nil)
      }
    } catch {
      guard error.errno != .fileExists else { return (.collision, nil) }
      try? directory.remove()
      return (.failed(unmade("\(error)")), nil)
    }
    do throws(AuditError) {
      return (.made, try Record.make(in: profiles, metadata: facts.metadata))
    } catch {
      try? directory.remove()
      if case .collision = error { return (.collision, nil) }
      return (.failed("\(error)"), nil)
    }
  }

  private nonisolated static func unmade(_ reason: String) -> String {
    "The session's private directory cannot be made (\(reason)): see to the runtime directory."
  }

  /// On the worker: waits until a record that was just made is on the disk.
  ///
  /// - Returns: why it could not be done.
  private nonisolated static func synchronize(_ fresh: Record.Fresh?) -> String? {
    do throws(AuditError) {
      try fresh?.synchronize()
      return nil
    } catch {
      return "\(error)"
    }
  }
}

/// Why no session was begun. One sentence.
public struct SessionRefusal: Error, Sendable, CustomStringConvertible {
  /// The sentence.
  public let description: String
  /// - Parameter sentence: what is wrong and what to do.
  public init(_ sentence: String) { description = sentence }
}
