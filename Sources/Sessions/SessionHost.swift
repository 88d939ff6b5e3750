// What all sessions of a daemon share.

internal import Audit
public import Engine
public import Logging
public import Reactor

/// The daemon's resources, as a session uses them.
@Loop
public final class SessionHost {
  /// Podman.
  public let containers: Containers
  /// What sessions clone from; nil where no profile has that and none ever had.
  public let mirrors: Mirrors?
  /// For what waits for a disk.
  public let worker: Worker
  /// Starts of one profile at a time, at least, and for each process that podman may have: the gate is never without one.
  private static let startLimit = 64
  private static let startsPerProcess = 4
  /// Sessions whose containers are removed at a time. Removals go by 64, and a machine that shuts down ends all at once.
  private static let endLimit = 256
  /// Records that are completed at a time.
  private static let completionLimit = 64
  /// Records that are sealed while their containers are removed. Each has descriptors open and its share of the worker,
  /// which others wait for; all beyond these are sealed when it is their turn to be completed.
  private static let earlySealLimit = 64
  private var earlySeals = 0
  private var starts: [String: Line] = [:]
  /// Whose container is removed next.
  let ends = Line(limit: endLimit)
  /// Whose record is completed next. A line of its own: a slow disk must not hold up removals.
  let completions = Line(limit: completionLimit)
  /// Where the facts of all sessions are.
  let journal: Journal
  /// For what the sessions' setups report.
  let reports: Reports
  /// The first 8 hex digits that mark everything of this daemon.
  public let daemonID: String
  /// Where the private directories are.
  private(set) var runtimeDirectory: RuntimeDirectory
  /// Where the records are.
  public let auditRoot: String
  /// The directories in which they are made.
  let profiles: OpenProfiles
  /// The program, and its leading words, that seals the record at the path that follows: agentd itself.
  let sealCommand: [String]
  /// Receives the events of sessions.
  let log: Logger
  /// Whether the runtime directory is in memory, as it should be.
  private(set) var isRuntimeInMemory: Bool

  /// All of them.
  public init(
    containers: Containers, worker: Worker, daemonID: String, runtimeDirectory: String, auditRoot: String,
    sealCommand: [String], log: Logger, mirrors: Mirrors? = nil
  ) throws(SystemError) {
    self.containers = containers
    self.mirrors = mirrors
    self.worker = worker
    reports = try Reports()
    // Read once in a process: here, where a descriptor is to be had. Facts without it would look like another run's.
    _ = Boot.id
    self.daemonID = daemonID
    self.runtimeDirectory = try RuntimeDirectory(runtimeDirectory)
    journal = Journal(in: runtimeDirectory)
    self.auditRoot = auditRoot
    profiles = OpenProfiles(auditRoot: auditRoot)
    self.sealCommand = sealCommand
    self.log = log
    isRuntimeInMemory = MemoryFileSystem.holds(runtimeDirectory)
    watchReports()
  }

  private func watchReports() {
    guard let reason = reports.watch(runtimeDirectory.path) else { return }
    log.warning("runner.reports_unwatched", metadata: ["reason": "\(reason)"])
  }

  /// Opens the runtime directory anew, because another has been put in its place, or the journal in it has gone.
  func reopenRuntimeDirectory() async throws(SystemError) {
    (runtimeDirectory, isRuntimeInMemory) = try await worker.run {
      [path = runtimeDirectory.path] () throws(SystemError) in
      (try RuntimeDirectory(path), MemoryFileSystem.holds(path))
    }
    journal.lose()
    watchReports()
  }

  /// Does what touches a private directory: at once where the runtime directory is in memory, as it should be, and on the
  /// worker where that is on a disk. On the worker it would wait behind the syncs of other sessions' records.
  func onRuntimeDirectory<Value: Sendable, Failure: Error>(
    _ body: @escaping @Sendable () throws(Failure) -> Value
  ) async throws(Failure) -> Value {
    guard isRuntimeInMemory else { return try await worker.run(body) }
    return try body()
  }

  /// Removes files of the journal that nobody needs any more.
  func discard(_ files: [JournalFile]) {
    guard !files.isEmpty else { return }
    Loop.spawn { await self.onRuntimeDirectory { for file in files { file.remove() } } }
  }

  /// Whose container is started next, of a profile: one whose launches hang must hold no other back.
  func starts(of profile: String) -> Line {
    if let line = starts[profile] { return line }
    let line = Line(limit: max(Self.startLimit, Self.startsPerProcess * containers.processLimit))
    starts[profile] = line
    return line
  }

  /// Begins to seal a record while its container is removed; nil where too many do.
  func sealEarly<Sealed: Sendable>(_ seal: @escaping @Loop () async -> Sealed) -> Task<Sealed, Never>? {
    guard earlySeals < Self.earlySealLimit else { return nil }
    earlySeals += 1
    return Loop.spawn {
      defer { self.earlySeals -= 1 }
      return await seal()
    }
  }

  /// Releases what it holds. No session may live.
  public func close() { reports.close() }
}
