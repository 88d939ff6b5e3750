// Runs podman as a child process, a few at a time, each with a deadline.

public import Reactor

/// podman did not do what it was asked. One clause that reads on after what was asked.
public struct EngineError: Error, Sendable, CustomStringConvertible {
  /// Why, in podman's words where it has any.
  public let description: String
  /// Whether podman hung, and was killed at its deadline.
  public let isTimeout: Bool

  /// - Parameters: as the properties say.
  public init(description: String, isTimeout: Bool = false) {
    self.description = description
    self.isTimeout = isTimeout
  }
}

/// The containers and images of one podman, as this daemon uses them.
@Loop
public final class Containers {
  /// podman processes at once. More of them only contend for podman's locks: 60 at once finish fewer sessions a
  /// second than 4 at once, at 35 MB each.
  public static let processLimit = 4
  /// How often a question is asked that podman failed to answer: it may have been killed for want of memory, or its
  /// database was locked.
  private static let attemptLimit = 3
  private static let attemptPause: Duration = .milliseconds(200)

  /// How long podman may take, by what it is asked for. What takes longer hangs: it is killed and has failed, and those
  /// who wait for its place among ``processLimit`` go on.
  public struct Deadlines: Sendable {
    /// For a launch. podman needs a tenth of a second, under load some seconds, and a copy of the whole image where its
    /// storage driver is vfs; and a launch that was killed is a session lost, because it must not be repeated.
    public var launch: Duration = .seconds(120)
    /// For a question. It needs a twentieth of a second, but waits for podman's locks, which others may hold.
    public var question: Duration = .seconds(30)
    /// For a removal of up to 64 containers. One needs a twentieth of a second, and more where many files go.
    public var removal: Duration = .seconds(60)

    /// The deadlines of a daemon.
    public init() {}
  }

  let podman: Podman
  let worker: Worker
  let deadlines: Deadlines
  private let environment: [String]
  private let gate = Semaphore(permits: processLimit)
  private var running: [ObjectIdentifier: Child] = [:]
  private lazy var removals = Removals(self)
  private lazy var imageStore = Images(self)

  /// - Parameters:
  ///   - podman: the program, by its absolute path.
  ///   - environment: its whole environment, as NAME=value. It must hold no secret of any profile.
  ///   - worker: for what waits for a disk.
  ///   - deadlines: how long podman may take.
  public init(podman: Podman, environment: [String], worker: Worker, deadlines: Deadlines = Deadlines()) {
    self.podman = podman
    self.deadlines = deadlines
    self.environment = environment
    self.worker = worker
  }

  /// Asks podman where its store is, which also shows whether podman works at all.
  public func probe() async throws(EngineError) {
    let output = try await answer(podman.store)
    guard let store = Store(parsing: output) else {
      throw EngineError(
        description: "podman info printed something that is not understood: \(output.prefix(200))")
    }
    imageStore.indexPath = "\(store.root)/\(store.driver)-images/images.json"
  }

  /// Starts a container and returns when it runs. Never repeated: where podman was killed, nobody knows how far it came,
  /// and what it left is the caller's to remove.
  ///
  /// - Parameter launch: asked for what to start when its turn has come: many may wait, and its words are kilobytes.
  public func launch(_ launch: @Loop () -> ContainerLaunch) async throws(LaunchFailure) {
    let result: CommandResult
    do throws(EngineError) {
      result = try await gate.withPermit { () async throws(EngineError) in
        try await runOutsideGate(podman.run(launch()), deadline: deadlines.launch)
      }
    } catch {
      throw .other(error.description)
    }
    guard !result.timedOut else {
      throw .other("it took longer than \(deadlines.launch.components.seconds) s and was killed")
    }
    if case .signaled = result.status { throw .other("podman run ended with \(result.status)") }
    guard result.succeeded else {
      throw LaunchFailure(exitCode: result.status.code, stderr: Self.text(result.standardError))
    }
  }

  /// What an image reference means now; pulls the image when it is missing.
  public func image(_ reference: String) async throws(EngineError) -> ImageIdentity {
    try await imageStore.resolve(reference)
  }

  /// Forgets what a reference meant: an image was not where it had been.
  public func forgetImage(_ reference: String) { imageStore.forget(reference) }

  /// Removes a container with its anonymous volumes, killing it when it still runs. A container that does not exist
  /// is removed already.
  public func remove(_ name: ContainerName) async throws(EngineError) {
    try await removals.remove(name)
  }

  /// How a container ended, for kernels that do not tell. nil when podman knows no such container.
  public func exit(of name: ContainerName) async throws(EngineError) -> ContainerExit? {
    let arguments = podman.containerExit(name)
    let result = try await ask(arguments) { Self.text($0.standardError).contains("no such container") }
    guard result.succeeded else { return nil }
    guard let exit = ContainerExit(parsing: Self.text(result.standardOutput)) else {
      throw EngineError(description: "podman inspect printed something that is not understood")
    }
    return exit
  }

  /// All containers of the daemon with this id (8 hex digits).
  public func list(daemon: String) async throws(EngineError) -> [ListedContainer] {
    guard let prefix = ContainerName.prefix(daemon: daemon) else {
      preconditionFailure("a daemon's id has 8 hex digits")
    }
    return ListedContainer.parse(try await answer(podman.list(prefix: prefix)), daemon: daemon)
  }

  /// Runs a program as root of the user namespace in which this user's containers live.
  public func unshare(_ words: [String], deadline: Duration) async throws(EngineError) -> CommandResult {
    try await run(podman.unshare(words), deadline: deadline)
  }

  /// Ends what still runs although nobody waits for it, a pull whose sessions were stopped.
  public func close() async {
    for child in running.values {
      child.kill()
      _ = await child.wait()
    }
  }

  // MARK: Running podman

  /// Runs podman when its turn comes.
  func run(
    _ arguments: [String], deadline: Duration, captureLimit: Int = 1 << 20
  ) async throws(EngineError) -> CommandResult {
    try await gate.withPermit { () async throws(EngineError) in
      try await runOutsideGate(arguments, deadline: deadline, captureLimit: captureLimit)
    }
  }

  /// Runs podman at once, however many others run: for what takes long and waits for others, a pull.
  func runOutsideGate(
    _ arguments: [String], deadline: Duration, captureLimit: Int = 1 << 16
  ) async throws(EngineError) -> CommandResult {
    do throws(SystemError) {
      let child = try Child(
        Command(
          executable: podman.executable, arguments: arguments, environment: environment, deadline: deadline,
          captureLimit: captureLimit))
      running[ObjectIdentifier(child)] = child
      defer { running[ObjectIdentifier(child)] = nil }
      return await child.wait()
    } catch {
      throw EngineError(description: "podman could not be started (\(error))")
    }
  }

  /// Asks podman something, and again where it failed: a question changes nothing. One that hangs is not asked again,
  /// because it has had its time.
  ///
  /// - Parameter isAnswer: whether a failure is what was to be known.
  /// - Returns: what podman ended with, a success or an answer.
  func ask(
    _ arguments: [String], isAnswer: (CommandResult) -> Bool = { _ in false }
  ) async throws(EngineError) -> CommandResult {
    var attempt = 1
    while true {
      let result = try await run(arguments, deadline: deadlines.question)
      if result.succeeded || (!result.timedOut && isAnswer(result)) { return result }
      guard !result.timedOut, attempt < Self.attemptLimit else { throw Self.failure(of: arguments, result) }
      attempt += 1
      await Timer.sleep(Self.attemptPause)
    }
  }

  /// Asks podman something and returns what it printed; anything but success is an error in its words.
  func answer(_ arguments: [String]) async throws(EngineError) -> String {
    Self.text(try await ask(arguments).standardOutput)
  }

  static func failure(of arguments: [String], _ result: CommandResult) -> EngineError {
    let what = "podman \(arguments.prefix(while: { !$0.hasPrefix("-") }).prefix(2).joined(separator: " "))"
    guard !result.timedOut else {
      return EngineError(description: "\(what) took too long and was killed", isTimeout: true)
    }
    let words = LaunchFailure.lastWords(text(result.standardError))
    return EngineError(
      description: words.isEmpty ? "\(what) ended with \(result.status)" : "\(what): \(words)")
  }

  static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
}
