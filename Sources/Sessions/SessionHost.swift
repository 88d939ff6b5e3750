// What all sessions of a daemon share.

public import Engine
public import Logging
public import Reactor

/// The daemon's resources, as a session uses them.
@Loop
public final class SessionHost {
  /// Podman.
  public let containers: Containers
  /// What sessions clone from; nil where no profile has that.
  public let mirrors: Mirrors?
  /// For what waits for a disk.
  public let worker: Worker
  /// For the reports of the sessions' setups.
  let reports: FileWatcher
  /// The first 8 hex digits that mark everything of this daemon.
  public let daemonID: String
  /// Where the private directories are.
  public let runtimeDirectory: String
  /// Where the records are.
  public let auditRoot: String
  /// The program, and its leading words, that seals the record at the path that follows: agentd itself.
  let sealCommand: [String]
  /// Receives the events of sessions.
  let log: Logger

  /// All of them.
  public init(
    containers: Containers, worker: Worker, daemonID: String, runtimeDirectory: String, auditRoot: String,
    sealCommand: [String], log: Logger, mirrors: Mirrors? = nil
  ) throws(SystemError) {
    self.containers = containers
    self.mirrors = mirrors
    self.worker = worker
    reports = try FileWatcher()
    // Read once in a process: here, where a descriptor is to be had. Facts without it would look like another run's.
    _ = Boot.id
    self.daemonID = daemonID
    self.runtimeDirectory = runtimeDirectory
    self.auditRoot = auditRoot
    self.sealCommand = sealCommand
    self.log = log
  }

  /// Releases what it holds. No session may live.
  public func close() { reports.close() }
}
