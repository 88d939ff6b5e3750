// What the daemon does for its clients: a session for who asks for one, and answers about those that there are.

internal import Audit
internal import Control
internal import Reactor
internal import Sessions

extension Service {
  func answer(_ request: Request, from connection: Connection, on host: SessionHost) async {
    switch request {
    case .run(let invocation): await begin(invocation, from: connection, on: host)
    case .stop(let id): await connection.send(stop(id))
    case .follow(let id):
      replying += 1
      await followers.follow(id, from: connection, on: host.worker) { id in
        self.sessions[id].map { self.accepted($0) }
      }
      replying -= 1
      openWhenIdle()
    case .list: await connection.send(.sessions(sessions: list()))
    case .describe(let id): await connection.send(describe(id))
    case .ping: await connection.send(.done)
    }
  }

  private func stop(_ id: String) -> Reply {
    guard let session = session(id) else { return Self.refusal(ofUnknown: id) }
    end(session)
    return .done
  }

  private func describe(_ id: String) -> Reply {
    guard let session = session(id) else { return Self.refusal(ofUnknown: id) }
    let metadata = String(decoding: session.metadata.json(), as: UTF8.self)
    return .described(session: DescribedSession(record: session.record.path, metadata: metadata))
  }

  private func session(_ id: String) -> Session? { SessionID(id).flatMap { sessions[$0] } }

  private static func refusal(ofUnknown id: String) -> Reply {
    .refused(reason: "No session \(id.prefix(32).debugDescription) lives: see `agentd ps`.")
  }

  private func begin(_ request: InvocationRequest, from connection: Connection, on host: SessionHost) async {
    beginning += 1
    let arrival = host.mirrors?.expect()
    defer { arrival?.end() }
    // From now on, so that a crowd of others does not end the connection in the middle.
    connection.attach()
    let session: Session
    let place: Admission<SessionID>.Place
    do throws(SessionRefusal) {
      (session, place) = try await admit(request, on: host)
    } catch {
      log.warning(
        "agentd.run_rejected",
        metadata: ["profile": "\(request.profile.prefix(64))", "reason": "\(error)"])
      beginning -= 1
      openWhenIdle()
      await connection.send(.refused(reason: error.description))
      connection.detach()
      return
    }
    welcome(session, place)
    beginning -= 1
    if !request.detach { followers.add(connection, to: session.id) }
    await connection.send(.accepted(session: accepted(session)))
    // One that is queued needs no daemon as it is.
    openWhenIdle()
    if request.detach { connection.detach() }
  }

  private func admit(
    _ request: InvocationRequest, on host: SessionHost
  ) async throws(SessionRefusal) -> (Session, Admission<SessionID>.Place) {
    guard !stopping.isOpen else {
      throw SessionRefusal(
        leaving == .handingOver
          ? "The daemon is handing over to the next one: ask again."
          : "The daemon is stopping: it finishes its sessions and begins none.")
    }
    guard let place = admission.reserve() else {
      throw SessionRefusal(
        "The daemon is full, with \(admission.limit) live and \(admission.queueLimit) queued "
          + "(daemon.max_sessions, daemon.queue_limit): ask again when one has ended.")
    }
    do throws(SessionRefusal) {
      let intake = Intake(configuration: configuration)
      let invocation = try intake.invocation(for: request)
      Checkpoint.intake.pass()
      let session = try await Session.prepare(invocation, isQueued: place == .queue, on: host)
      (place == .queue ? Checkpoint.queued : .prepared).pass()
      return (session, place)
    } catch {
      admission.release(place)
      advance()
      throw error
    }
  }
}
