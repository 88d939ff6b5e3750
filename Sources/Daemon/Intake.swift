// From what a client asks for to an invocation that is in order: everything is validated before anything is made.

internal import Control
internal import Glibc
internal import Profiles
internal import Reactor
internal import Sessions
internal import Time

/// Turns requests into invocations by the rules of one configuration.
@Loop
struct Intake {
  /// The longest timeout: a year.
  private static let timeoutLimit: Duration = .seconds(365 * 86400)

  let configuration: Configuration

  /// Validates a request and reads its secrets.
  ///
  /// - Throws: `SessionRefusal` with a sentence that names what is wrong, and no secret.
  func invocation(for request: InvocationRequest) throws(SessionRefusal) -> Invocation {
    guard let profile = configuration.profile(named: request.profile) else {
      let names = configuration.profiles.prefix(20).map(\.name).joined(separator: ", ")
      throw SessionRefusal(
        "There is no profile \(request.profile.prefix(64).debugDescription) in \(configuration.path): it has \(names)."
      )
    }
    let repository: RepositoryURL
    do throws(InvalidValue) {
      repository = try profile.repository(
        given: try request.repository.map { (text) throws(InvalidValue) in
          try RepositoryURL(text)
        })
    } catch {
      throw SessionRefusal("The repository cannot be used: \(error.message).")
    }
    let workUnit: WorkUnit?
    do throws(InvalidValue) {
      workUnit = try request.workUnit.map { (text) throws(InvalidValue) in try WorkUnit(text) }
    } catch {
      throw SessionRefusal("The work unit cannot be used: it \(error.message).")
    }
    let scheduledFor = request.scheduledFor.map { Timestamp(rfc3339: $0) }
    if case .some(.none) = scheduledFor {
      throw SessionRefusal("The scheduled time is not an RFC 3339 time: see to the client that sent it.")
    }
    return try invocation(
      profile, repository, workUnit, timeout: try timeout(request.timeoutMilliseconds),
      scheduledFor: scheduledFor ?? nil)
  }

  /// What a session that waited is begun with. Its secrets are read now, from the daemon's environment as it is: they are
  /// nowhere while it waits.
  func invocation(of session: Session) throws(SessionRefusal) -> Invocation {
    let order = try session.order()
    let sources =
      order.profile.credentials.map(\.source) + [order.profile.repositoryTokenSource].compactMap(\.self)
    // What the configuration does not know to be a secret is in podman's environment.
    for source in sources where !configuration.secretVariables.contains(source) {
      throw SessionRefusal(
        "Profile \(order.profile.name): the configuration has changed while the session was queued, and \(source) is no "
          + "source of a credential any more. Run it again.")
    }
    return try invocation(
      order.profile, order.repository, order.workUnit, timeout: nil, scheduledFor: nil)
  }

  /// Puts an invocation together with its secrets. Where git fetches on the host, the container never sees the token.
  private func invocation(
    _ profile: Profile, _ repository: RepositoryURL, _ workUnit: WorkUnit?, timeout: Duration?,
    scheduledFor: Timestamp?
  ) throws(SessionRefusal) -> Invocation {
    let token = try cloneToken(for: profile, repository: repository)
    let isMirrored = profile.repositoryCache && configuration.hasMirrors
    return Invocation(
      profile: profile, repository: repository, workUnit: workUnit, timeout: timeout,
      scheduledFor: scheduledFor, cloneToken: isMirrored ? token : nil,
      envelope: try envelope(
        for: profile, repository: repository, workUnit: workUnit, cloneToken: isMirrored ? nil : token))
  }

  private func timeout(_ milliseconds: UInt64?) throws(SessionRefusal) -> Duration? {
    guard let milliseconds else { return nil }
    guard milliseconds > 0, milliseconds <= Self.timeoutLimit.wholeMilliseconds else {
      throw SessionRefusal("The timeout must be longer than nothing and at most 365 days.")
    }
    return .milliseconds(Int64(milliseconds))
  }

  /// nil for none, which an empty one means as well.
  private func cloneToken(
    for profile: Profile, repository: RepositoryURL
  ) throws(SessionRefusal) -> [UInt8]? {
    guard let source = profile.repositoryTokenSource else { return nil }
    guard let token = variable(source) else {
      throw SessionRefusal(
        "Profile \(profile.name), repo_token_source: the daemon's environment has no variable \(source). "
          + "Export it and start the daemon again.")
    }
    guard !token.isEmpty else { return nil }
    do throws(EnvelopeError) {
      try Envelope.prove(cloneToken: token, for: repository.text)
    } catch {
      throw SessionRefusal("Profile \(profile.name): \(error).")
    }
    return token
  }

  private func envelope(
    for profile: Profile, repository: RepositoryURL, workUnit: WorkUnit?, cloneToken: [UInt8]?
  ) throws(SessionRefusal) -> Envelope {
    var credentials: [(name: String, value: [UInt8])] = []
    for credential in profile.credentials {
      guard let value = variable(credential.source) else {
        throw SessionRefusal(
          "Profile \(profile.name), credential \(credential.name): the daemon's environment has no variable "
            + "\(credential.source). Export it and start the daemon again.")
      }
      credentials.append((credential.name, value))
    }
    do throws(EnvelopeError) {
      return try Envelope(
        repository: repository.text, workUnit: workUnit?.text, cloneToken: cloneToken,
        credentials: credentials)
    } catch {
      throw SessionRefusal("Profile \(profile.name): \(error).")
    }
  }

  /// A variable of the daemon's own environment, byte for byte.
  private func variable(_ name: String) -> [UInt8]? {
    guard let value = getenv(name) else { return nil }
    return [UInt8](UnsafeRawBufferPointer(start: value, count: strlen(value)))
  }
}
