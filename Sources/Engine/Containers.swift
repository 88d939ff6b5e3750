// Runs podman as a child process, a few at a time, each with a deadline.

internal import Glibc
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
  /// How often a question is asked that podman failed to answer: it may have been killed for want of memory, or its
  /// database was locked.
  private static let attemptLimit = 3
  private static let attemptPause: Duration = .milliseconds(200)
  /// What a question is about that is about no image and no profile.
  static let everything = ""

  /// How long podman may take, by what it is asked for. What takes longer hangs: it is killed and has failed.
  public struct Deadlines: Sendable {
    /// For a launch. podman needs a tenth of a second, under load some seconds, and a copy of the whole image where its
    /// storage driver is vfs; and a launch that was killed is a session lost, because it must not be repeated.
    public var launch: Duration = .seconds(120)
    /// For a question. It needs a twentieth of a second, but waits for podman's locks, which others may hold.
    public var question: Duration = .seconds(30)
    /// For a removal of up to 64 containers. One needs a twentieth of a second, and more where many files go.
    public var removal: Duration = .seconds(60)
    /// For a launch that is not wanted any more, from when that is said. One that works is let come to its end, because
    /// of one that is killed in the middle there is something left to end.
    public var withdrawnLaunch: Duration = .seconds(5)
    /// For anything, until others go on as if it were not there. Long for podman under load, so that a busy machine does
    /// not get more of them to do at once.
    public var patience: Duration = .seconds(5)

    /// The deadlines of a daemon.
    public init() {}
  }

  let podman: Podman
  let worker: Worker
  let deadlines: Deadlines
  private let environment: ChildEnvironment
  private let gate: Gate
  private var running: [ObjectIdentifier: Child] = [:]
  private lazy var removals = Removals(self)
  private lazy var imageCache = Images(self)

  /// - Parameters:
  ///   - podman: the program, by its absolute path.
  ///   - environment: its whole environment, as NAME=value. It must hold no secret of any profile.
  ///   - worker: for what waits for a disk.
  ///   - processLimit: how many podman processes at once. More than a few only contend for podman's locks, at 35 MB each.
  ///   - deadlines: how long podman may take.
  public init(
    podman: Podman, environment: [String], worker: Worker, processLimit: Int,
    deadlines: Deadlines = Deadlines()
  ) {
    self.podman = podman
    self.processLimit = processLimit
    gate = Gate(permits: processLimit, patience: deadlines.patience)
    self.deadlines = deadlines
    self.environment = ChildEnvironment(environment)
    self.worker = worker
  }

  /// Asks podman where its store is, which also shows whether podman works at all.
  public func probe() async throws(EngineError) {
    let output = try await answer(podman.store, about: Self.everything)
    guard let store = Store(parsing: output) else {
      throw EngineError(
        description: "podman info printed something that is not understood: \(output.prefix(200))")
    }
    imageCache.store = ImageStore(index: "\(store.root)/\(store.driver)-images/images.json")
  }

  /// Starts a container and returns when it runs. Never repeated: where podman was killed, nobody knows how far it came,
  /// and what it left is the caller's to remove.
  ///
  /// - Parameters:
  ///   - withdrawal: takes the launch back: at once while it waits for its turn, and where podman hangs by killing it.
  ///   - launch: asked for what to start when its turn has come: many may wait, and its words are kilobytes.
  public func launch(
    _ name: ContainerName, unless withdrawal: Withdrawal? = nil, _ launch: @Loop () -> ContainerLaunch
  ) async throws(LaunchFailure) {
    let lane = Gate.Lane.launches(profile: name.profile)
    guard let permit = await gate.permit(in: lane, unless: withdrawal) else { throw .withdrawn }
    let result: CommandResult
    do throws(EngineError) {
      // What it prints is the container's id, which nobody needs: it goes by its name.
      result = try await run(
        podman.run(launch()), permit, deadline: deadlines.launch, hasOutput: false, unless: withdrawal)
    } catch {
      throw .notStarted(error.description)
    }
    if withdrawal?.isRequested == true, result.status == .signaled(SIGKILL) { throw .killed }
    guard !result.timedOut else {
      throw .other("it took longer than \(deadlines.launch.components.seconds) s and was killed")
    }
    if case .signaled = result.status { throw .other("podman run ended with \(result.status)") }
    guard result.succeeded else {
      throw LaunchFailure(exitCode: result.status.code, stderr: Self.text(result.standardError))
    }
  }

  /// What an image reference means, where podman was asked before and its store was in this state; else nil.
  public func image(_ reference: String, rememberedFor state: ImageStore.State?) -> ImageIdentity? {
    imageCache.remembered(reference, for: state)
  }

  /// Podman's image store; nil before podman has been asked for it.
  public var images: ImageStore? { imageCache.store }

  /// What an image reference means now; pulls the image when it is missing.
  public func image(_ reference: String) async throws(EngineError) -> ImageIdentity {
    try await imageCache.resolve(reference)
  }

  /// Forgets what a reference meant: an image was not where it had been.
  public func forgetImage(_ reference: String) { imageCache.forget(reference) }

  /// Removes a container with its anonymous volumes, killing it when it still runs. A container that does not exist
  /// is removed already.
  ///
  /// - Parameter onBegin: called once, when it is its turn: what is done then goes on beside podman, and together with what is
  ///   done for all those that are removed with it.
  public func remove(
    _ name: ContainerName, onBegin: @escaping @Loop () -> Void = {}
  ) async throws(EngineError) {
    try await removals.remove(name, onBegin)
  }

  /// How a container ended, for kernels that do not tell. nil when podman knows no such container.
  public func exit(of name: ContainerName) async throws(EngineError) -> ContainerExit? {
    let arguments = podman.containerExit(name)
    let result = try await ask(arguments, about: name.profile) {
      Self.text($0.standardError).contains("no such container")
    }
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
    let output = try await answer(podman.list(prefix: prefix), about: Self.everything)
    return ListedContainer.parse(output, daemon: daemon)
  }

  /// Runs a program as root of the user namespace in which this user's containers live.
  public func unshare(_ words: [String], deadline: Duration) async throws(EngineError) -> CommandResult {
    try await run(podman.unshare(words), in: .unshare, deadline: deadline)
  }

  /// How many podman processes there may be at once.
  public let processLimit: Int
  /// How many podman processes run.
  var processes: Int { running.count }

  /// Ends what still runs although nobody waits for it, a pull whose sessions were stopped.
  public func close() async {
    let children = Array(running.values)
    for child in children { child.kill() }
    for child in children { _ = await child.wait() }
  }

  // MARK: Running podman

  /// Runs podman when its turn comes.
  func run(
    _ arguments: [String], in lane: Gate.Lane, deadline: Duration, captureLimit: Int = 1 << 20
  ) async throws(EngineError) -> CommandResult {
    guard let permit = await gate.permit(in: lane) else {
      preconditionFailure("what nobody can withdraw is not withdrawn")
    }
    return try await run(arguments, permit, deadline: deadline, captureLimit: captureLimit)
  }

  /// Runs podman on a permit, which is given back when the process has gone. One that was killed and does not go keeps
  /// its place, so that there are never more of them than the gate says; who waits for it goes on.
  private func run(
    _ arguments: [String], _ permit: Gate.Permit, deadline: Duration, captureLimit: Int = 1 << 20,
    hasOutput: Bool = true, unless withdrawal: Withdrawal? = nil
  ) async throws(EngineError) -> CommandResult {
    let child: Child
    do throws(EngineError) {
      child = try start(
        arguments, deadline: deadline, captureLimit: captureLimit, hasOutput: hasOutput)
    } catch {
      permit.giveBack()
      throw error
    }
    var grace: Timer?
    withdrawal?.onRequest = { [deadlines] in
      grace = Timer(after: deadlines.withdrawnLaunch) { child.kill() }
    }
    // It may have been taken back in the moment between the permit and here.
    if withdrawal?.isRequested == true { withdrawal?.onRequest?() }
    let result = await outcome(of: child)
    withdrawal?.onRequest = nil
    grace?.cancel()
    if result.isStuck {
      Loop.spawn {
        await child.end()
        permit.giveBack()
      }
    } else {
      permit.giveBack()
    }
    return result
  }

  /// Runs podman at once, however many others run: for what takes long and waits for others, a pull.
  func runOutsideGate(
    _ arguments: [String], deadline: Duration, captureLimit: Int = 1 << 16
  ) async throws(EngineError) -> CommandResult {
    await outcome(of: try start(arguments, deadline: deadline, captureLimit: captureLimit))
  }

  private func start(
    _ arguments: [String], deadline: Duration, captureLimit: Int, hasOutput: Bool = true
  ) throws(EngineError) -> Child {
    var command = Command(
      executable: podman.executable, arguments: arguments, environment: environment, deadline: deadline,
      captureLimit: captureLimit)
    command.hasOutput = hasOutput
    do throws(SystemError) {
      return try Child(command)
    } catch {
      throw EngineError(description: "podman could not be started (\(error))")
    }
  }

  private func outcome(of child: Child) async -> CommandResult {
    running[ObjectIdentifier(child)] = child
    defer { running[ObjectIdentifier(child)] = nil }
    return await child.wait()
  }

  /// Asks podman something, and again where it failed: a question changes nothing. One that hangs is not asked again,
  /// because it has had its time.
  ///
  /// - Parameters:
  ///   - subject: what it is about. Questions about one thing wait for each other, and for no others that hang.
  ///   - isAnswer: whether a failure is what was to be known.
  /// - Returns: what podman ended with, a success or an answer.
  func ask(
    _ arguments: [String], about subject: String, isAnswer: (CommandResult) -> Bool = { _ in false }
  ) async throws(EngineError) -> CommandResult {
    var attempt = 1
    while true {
      let result = try await run(
        arguments, in: .questions(about: subject), deadline: deadlines.question)
      if result.succeeded || (!result.timedOut && isAnswer(result)) { return result }
      guard !result.timedOut, attempt < Self.attemptLimit else { throw Self.failure(of: arguments, result) }
      attempt += 1
      await Timer.sleep(Self.attemptPause)
    }
  }

  /// Asks podman something and returns what it printed; anything but success is an error in its words.
  func answer(_ arguments: [String], about subject: String) async throws(EngineError) -> String {
    Self.text(try await ask(arguments, about: subject).standardOutput)
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
