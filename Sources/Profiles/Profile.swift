// A profile: the named environment in which sessions run.

/// What a session needs to know of its environment, checked when the configuration was read.
public struct Profile: Sendable {
  /// The name of the profile and of the user in its containers: a-z first, then a-z, 0-9, _ and -, at
  /// most 32; unique in the file.
  public let name: String
  /// The image that sessions start from, as podman takes it.
  public let baseImage: String
  /// Absolute path on the host. It has to hold manifest.toml when a session starts, which is not checked
  /// before.
  public let methodologyDirectory: String
  /// The command and its arguments: at least one word, and none is empty.
  public let command: [String]
  /// What is cloned when the invocation names no other repository.
  public let repository: RepositoryURL?
  /// How the profile runs by itself; only with a repository.
  public let schedule: ScheduledRuns?
  /// The daemon's variable that holds the clone token; nil for none. With a repository, that is https.
  public let repositoryTokenSource: String?
  /// Whether the daemon keeps a mirror of what sessions clone, so that they clone from this host; else each clones from
  /// the remote by itself.
  public let repositoryCache: Bool
  /// Bind mounts, in the order of the file.
  public let mounts: [Mount]
  /// Credentials, in the order of the file, unique by name.
  public let credentials: [Credential]

  /// A profile with these properties, which are taken to be checked.
  public init(
    name: String, baseImage: String, methodologyDirectory: String, command: [String],
    repository: RepositoryURL? = nil, schedule: ScheduledRuns? = nil, repositoryTokenSource: String? = nil,
    repositoryCache: Bool = true, mounts: [Mount] = [], credentials: [Credential] = []
  ) {
    self.name = name
    self.baseImage = baseImage
    self.methodologyDirectory = methodologyDirectory
    self.command = command
    self.repository = repository
    self.schedule = schedule
    self.repositoryTokenSource = repositoryTokenSource
    self.repositoryCache = repositoryCache
    self.mounts = mounts
    self.credentials = credentials
  }

  /// The repository that a session of this profile clones.
  ///
  /// - Parameter given: The invocation's own repository, which goes before the profile's.
  /// - Returns: The URL to clone.
  /// - Throws: `InvalidValue` when there is none, or when the clone token would travel unencrypted.
  public func repository(given: RepositoryURL?) throws(InvalidValue) -> RepositoryURL {
    guard let url = given ?? repository else {
      throw InvalidValue(message: "profile \(name) has no repo; name a repository in the invocation")
    }
    guard repositoryTokenSource == nil || url.isHTTPS else {
      throw InvalidValue(
        message: "profile \(name) has a repo_token_source, so its repository must be https://")
    }
    return url
  }
}
