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
  let worker: Worker

  /// Validates a request and reads its secrets.
  ///
  /// - Throws: `SessionRefusal` with a sentence that names what is wrong, and no secret.
  func invocation(for request: InvocationRequest) async throws(SessionRefusal) -> Invocation {
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
    let token = try cloneToken(for: profile, repository: repository)
    // Where git fetches on the host, the container never sees the token.
    let envelope = try envelope(
      for: profile, repository: repository, workUnit: workUnit,
      cloneToken: profile.repositoryCache ? nil : token)
    try await requireFiles(of: profile)
    return Invocation(
      profile: profile, repository: repository, workUnit: workUnit,
      timeout: try timeout(request.timeoutMilliseconds), scheduledFor: scheduledFor ?? nil,
      cloneToken: profile.repositoryCache ? token : nil, envelope: envelope)
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
    let token = try cloneToken(for: order.profile, repository: order.repository)
    // There may be no mirrors any more, and then the container clones by itself.
    let isCached = order.profile.repositoryCache && configuration.profiles.contains(where: \.repositoryCache)
    return Invocation(
      profile: order.profile, repository: order.repository, workUnit: order.workUnit, timeout: nil,
      cloneToken: isCached ? token : nil,
      envelope: try envelope(
        for: order.profile, repository: order.repository, workUnit: order.workUnit,
        cloneToken: isCached ? nil : token))
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

  /// Files that were there when the configuration was read may have gone.
  private func requireFiles(of profile: Profile) async throws(SessionRefusal) {
    try await worker.run { () throws(SessionRefusal) in
      let manifest = "\(profile.methodologyDirectory)/manifest.toml"
      guard access(manifest, R_OK) == 0 else {
        throw SessionRefusal(
          "Profile \(profile.name), methodology_dir: \(manifest) cannot be read. A methodology has a manifest.toml."
        )
      }
      for mount in profile.mounts where access(mount.source, F_OK) != 0 {
        throw SessionRefusal(
          "Profile \(profile.name), mount \(mount.target): its source \(mount.source) does not exist any more."
        )
      }
    }
  }
}
