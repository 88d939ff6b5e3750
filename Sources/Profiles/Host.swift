// What the rules of a configuration need to know of the machine, passed in so that the rules stay pure.

public import Cron
public import Time

/// The machine as the configuration sees it.
public struct Host: Sendable {
  /// The environment of the process; only TZ, HOME and the names of XDG base directories are looked up.
  public var environment: [String: String]
  /// 0 is root, which has other default paths than everybody else.
  public var effectiveUserID: UInt32
  /// Absolute; what a relative path of the configuration file itself is relative to.
  public var workingDirectory: String
  /// Whether a file of any kind exists at an absolute path.
  public var exists: @Sendable (String) -> Bool
  /// How many processors this process may use, at least 1.
  public var cores: Int
  /// The machine's memory in bytes.
  public var memory: UInt64
  /// The moment that schedules are looked at from.
  public var now: Timestamp
  /// Reads a zone by its name, or the local one of this process for nil. It is asked once for each.
  public var zone: @Sendable (String?) throws(SystemZone.Failure) -> SystemZone

  /// A host with these properties.
  public init(
    environment: [String: String], effectiveUserID: UInt32, workingDirectory: String,
    exists: @escaping @Sendable (String) -> Bool, cores: Int, memory: UInt64, now: Timestamp,
    zone: @escaping @Sendable (String?) throws(SystemZone.Failure) -> SystemZone
  ) {
    self.environment = environment
    self.effectiveUserID = effectiveUserID
    self.workingDirectory = workingDirectory
    self.exists = exists
    self.cores = cores
    self.memory = memory
    self.now = now
    self.zone = zone
  }

  /// The directory that an environment variable names. The XDG Base Directory Specification has relative
  /// ones ignored, and an empty one counts as unset.
  func directory(_ variable: String) -> String? {
    guard let path = environment[variable], path.utf8.first == UInt8(ascii: "/") else { return nil }
    return path
  }
}
