// Mirrors of the repositories that sessions clone: one for each profile and repository, brought up to date by git on
// the host, once for however many sessions wait for that.

internal import Glibc
public import Reactor
internal import SystemPackage

/// The mirrors of one daemon.
///
/// A fetch never touches what is there: git makes a repository of its own beside it, finds in the old one what it need
/// not be sent again, and takes its place when it is whole. So a git that is killed leaves nothing that anybody would
/// use, and nothing to repair. A session gets a copy of the mirror, whose packs are hard links: what becomes of the
/// mirror afterwards is no concern of the session's.
///
/// ```
/// ROOT/mirrors/DAEMON/PROFILE/DIGEST/repository     DIGEST is of the repository's URL
/// ROOT/mirrors/DAEMON/PROFILE/DIGEST/incoming-TAG-N what git makes now
/// ROOT/clones/DAEMON/SESSION                        what a session clones from, until its command runs
/// ```
@Loop
public final class Mirrors {
  /// git processes at once.
  public nonisolated static let processLimit = 16
  /// Those of one profile: servers that do not answer hold up the profile that asked them.
  nonisolated static let processLimitPerProfile = 4
  /// Mirrors of one profile. Those beyond are dropped, the longest unused first.
  nonisolated static let countLimit = 1000
  /// References that may have moved in one fetch for git to be asked whether anything was dropped by it.
  private static let movedLimit = 1000

  /// What one mirror may take.
  public struct Bounds: Sendable {
    /// Of a fetch, from its start. As long as a pull.
    public var deadline: Duration = .seconds(1800)
    /// Of a mirror, in bytes as `TreeSize` counts them. Of each file that git writes the kernel sees to it (RLIMIT_FSIZE);
    /// of all together the worker, while git runs and when it has ended.
    public var size: UInt64 = 16 << 30
    /// How long after one look at what git has written so far the next one is. What comes meanwhile is beyond the bound.
    public var lookInterval: Duration = .seconds(2)
    /// Packs beyond which a mirror is consolidated while nobody waits for it: each fetch that brings something adds one,
    /// and git looks into all of them.
    public var packs = 16
    /// Packs beyond which whoever comes waits for that.
    public var mostPacks = 256
    /// How often unused mirrors are looked for at most.
    public var sweepInterval: Duration = .seconds(3600)
    /// How long a fetch is put off at most for sessions that are on their way.
    public var arrival: Duration = .seconds(2)

    /// The bounds of a daemon.
    public init() {}
  }

  /// A session that waits.
  @Loop private final class Wish {
    let session: String
    let continuation: CheckedContinuation<Result<String, MirrorFailure>, Never>

    init(_ session: String, _ continuation: CheckedContinuation<Result<String, MirrorFailure>, Never>) {
      self.session = session
      self.continuation = continuation
    }
  }

  /// A mirror that something is done with.
  @Loop private final class Mirror {
    let profile: String
    let repository: String
    let files: MirrorFiles
    /// Those who wait for a fetch that has not begun: it has to begin after they asked.
    var wishes: [Wish] = []
    /// Those for whom git runs now.
    var served: [Wish] = []
    /// Of the latest wish.
    var token: [UInt8]?
    var fetching: Child?
    /// Ended as soon as somebody asks for the mirror.
    var consolidating: Child?

    init(profile: String, repository: String, files: MirrorFiles) {
      self.profile = profile
      self.repository = repository
      self.files = files
    }
  }

  let git: Git
  private let environment: [String]
  let worker: Worker
  let bounds: Bounds
  let maxAge: Duration
  let mirrorsPath: String
  let clonesPath: String
  private let gate = Semaphore(permits: processLimit)
  private var profileGates: [String: Reactor.Semaphore] = [:]
  private var mirrors: [String: Mirror] = [:]
  /// The paths of mirrors that a session could not clone from.
  var suspects: Set<String> = []
  private var running: [ObjectIdentifier: Child] = [:]
  /// Those among them that were ended with all that they have started.
  private var killed: Set<ObjectIdentifier> = []
  private(set) var isClosed = false
  var lastSweep: Instant?
  /// Fires when the next mirror has not been asked for in a long time.
  var nextSweep: Timer?
  /// In the names of what this process makes, so that it is told from what an earlier one left.
  let tag = hex(UInt64.random(in: .min ... .max))
  var made = 0
  private let arrivals: Arrivals
  /// Told what happens.
  public var onEvent: (@Loop (MirrorEvent) -> Void)?

  /// - Parameters:
  ///   - git: the program.
  ///   - root: the absolute path of the cache root.
  ///   - daemon: the id of this daemon. Nothing of another one is touched.
  ///   - maxAge: how long a mirror is kept that nobody asks for.
  ///   - environment: the daemon's own, without the secrets of its profiles.
  ///   - worker: for what waits for a disk.
  public init(
    git: Git, root: String, daemon: String, maxAge: Duration, environment: [String: String], worker: Worker,
    bounds: Bounds = Bounds()
  ) {
    self.git = git
    self.environment = Git.environment(from: environment)
    self.worker = worker
    self.bounds = bounds
    arrivals = Arrivals(patience: bounds.arrival)
    self.maxAge = maxAge
    mirrorsPath = "\(root)/mirrors/\(daemon)"
    clonesPath = "\(root)/clones/\(daemon)"
  }

  /// Whether a daemon has, or once had, any mirrors. Looks at the disk: call it on the worker.
  public nonisolated static func exist(of daemon: String, in root: String) -> Bool {
    ["mirrors", "clones"].contains { access("\(root)/\($0)/\(daemon)", F_OK) == 0 }
  }

  /// The first folder of a cache root, or on the way to it, in which another user could put something in the place of
  /// what is there. What is not there yet is made first: in a folder that everybody may write to somebody else might.
  /// Looks at the disk: call it on the worker.
  ///
  /// - Parameters:
  ///   - root: an absolute path.
  ///   - user: the daemon's.
  /// - Returns: a clause such as "/a belongs to uid 7"; nil when there is none.
  public nonisolated static func weakness(of root: String, for user: UInt32) -> String? {
    let paths = ["mirrors", "clones"].map { "\(root)/\($0)" }
    // Why it cannot be made is told when it is needed.
    for path in paths { try? MirrorFiles.makePrivate(path) }
    return paths.lazy.compactMap { MirrorFiles.weakness(of: $0, for: user) }.first
  }

  // MARK: What sessions ask for

  /// A session that was asked for and has not come as far as to ask for a mirror, if it ever will.
  public typealias Arrival = Arrivals.Arrival

  /// Has fetches put off until this session has asked as well, for a moment at most.
  public func expect() -> Arrival { arrivals.expect() }

  /// Fetches a repository and returns a bare one that is as it, for this session only.
  ///
  /// - Parameters:
  ///   - repository: an http, https or git URL without user info.
  ///   - profile: its name; no profile gets what another one's token has fetched.
  ///   - token: sent as the password of `x-access-token` to the host of an https URL.
  ///   - session: its id.
  /// - Returns: an absolute path, to be given back by `release`.
  public func clone(
    _ repository: String, profile: String, token: [UInt8]?, for session: String
  ) async throws(MirrorFailure) -> String {
    guard !isClosed else { throw MirrorFailure("the daemon is stopping") }
    let files = MirrorFiles(path: path(repository, profile))
    let result = await withCheckedContinuation { continuation in
      let wish = Wish(session, continuation)
      if let mirror = mirrors[files.path] {
        mirror.wishes.append(wish)
        mirror.token = token
        kill(mirror.consolidating)
      } else {
        let mirror = Mirror(profile: profile, repository: repository, files: files)
        mirror.wishes = [wish]
        mirror.token = token
        mirrors[files.path] = mirror
        Loop.spawn { await self.serve(mirror) }
      }
    }
    return try result.get()
  }

  /// Has a session wait no longer. Where nobody else does, git is ended.
  public func abandon(_ session: String) {
    for mirror in mirrors.values {
      for wish in mirror.wishes + mirror.served where wish.session == session {
        mirror.wishes.removeAll { $0 === wish }
        mirror.served.removeAll { $0 === wish }
        wish.continuation.resume(returning: .failure(MirrorFailure("the session was stopped")))
      }
      if mirror.served.isEmpty { kill(mirror.fetching) }
    }
  }

  /// Removes what a session got. It may have gone already, or never have been.
  public func release(_ session: String) async { await remove("\(clonesPath)/\(session)") }

  /// A session could not clone what it got: the next one's mirror is made from nothing.
  public func suspect(_ repository: String, profile: String) {
    suspects.insert(path(repository, profile))
  }

  private func path(_ repository: String, _ profile: String) -> String {
    "\(mirrorsPath)/\(profile)/\(MirrorFiles.name(of: repository))"
  }

  // MARK: Fetching

  private func serve(_ mirror: Mirror) async {
    let profileGate = profileGates[mirror.profile] ?? Semaphore(permits: Self.processLimitPerProfile)
    profileGates[mirror.profile] = profileGate
    while !mirror.wishes.isEmpty {
      await arrivals.gather()
      await profileGate.withPermit {
        await gate.withPermit {
          await update(mirror)
          if mirror.wishes.isEmpty { await consolidate(mirror) }
        }
      }
    }
    mirrors[mirror.files.path] = nil
    if !isClosed, lastSweep.map({ Loop.now - $0 > bounds.sweepInterval }) ?? false { await dropUnused() }
    // The first mirror of all: no sweep has seen it.
    if nextSweep == nil { sweep(after: maxAge) }
  }

  private func update(_ mirror: Mirror) async {
    // From here on git begins, so whoever comes now waits for the next.
    mirror.served = mirror.wishes
    mirror.wishes = []
    guard !mirror.served.isEmpty, !isClosed else {
      return answer(mirror, .failure(MirrorFailure("the daemon is stopping")))
    }
    do throws(MirrorFailure) {
      try await bringUpToDate(mirror, mirror.token)
    } catch {
      return answer(mirror, .failure(error))
    }
    while let wish = mirror.served.first {
      let result = await copy(mirror.files, for: wish.session)
      guard mirror.served.contains(where: { $0 === wish }) else { continue }
      mirror.served.removeAll { $0 === wish }
      wish.continuation.resume(returning: result)
    }
  }

  private func answer(_ mirror: Mirror, _ result: Result<String, MirrorFailure>) {
    let served = mirror.served
    mirror.served = []
    for wish in served { wish.continuation.resume(returning: result) }
  }

  private func copy(_ files: MirrorFiles, for session: String) async -> Result<String, MirrorFailure> {
    let path = "\(clonesPath)/\(session)"
    do throws(SystemError) {
      try await worker.run { [clonesPath] () throws(SystemError) in
        try MirrorFiles.makePrivate(clonesPath)
        try files.copy(to: path)
      }
      return .success(path)
    } catch {
      await remove(path)
      return .failure(MirrorFailure("what was fetched cannot be handed over (\(error)): see to cache_root"))
    }
  }

  private func bringUpToDate(_ mirror: Mirror, _ token: [UInt8]?) async throws(MirrorFailure) {
    let files = mirror.files
    let standing: MirrorFiles.Standing
    do throws(SystemError) {
      standing = try await worker.run { [mirrorsPath] () throws(SystemError) in
        try files.make(below: mirrorsPath)
        return files.standing()
      }
    } catch {
      throw MirrorFailure("its mirror cannot be made (\(error)): see to cache_root")
    }
    var flaw: String?
    switch standing {
    case .absent: break
    case .broken: flaw = "a file of it was lost or changed"
    case .whole where suspects.contains(files.path): flaw = "a session could not clone from it"
    case .whole:
      let fetched = try await fetch(mirror, token, reusing: true)
      guard fetched.blamesMirror else { return try await adopt(fetched, mirror, reusing: true) }
      await remove(fetched.directory)
      flaw = fetched.words
    }
    // What is there stays until another one is whole: the remote may be at fault as well.
    try await adopt(try await fetch(mirror, token, reusing: false), mirror, reusing: false)
    suspects.remove(files.path)
    if let flaw {
      onEvent?(.rebuilt(profile: mirror.profile, repository: mirror.repository, reason: flaw))
    }
  }

  /// What git has made of a remote.
  private struct Fetched {
    let directory: String
    /// Why it is of no use; nil when it is.
    let failure: MirrorFailure?
    let blamesMirror: Bool
    let words: String
  }

  private func fetch(
    _ mirror: Mirror, _ token: [UInt8]?, reusing: Bool
  ) async throws(MirrorFailure) -> Fetched {
    let repository = mirror.files.repository
    let directory = workDirectory(mirror.files)
    var variables = environment
    if let token { variables.append(Git.variable(for: token)) }
    if reusing { variables.append(Git.variable(forObjectsOf: repository)) }
    // They may all have been stopped while the disk was waited for.
    guard !mirror.served.isEmpty else { throw MirrorFailure("nobody waits for it any more") }
    let words = git.fetch(mirror.repository, into: directory, hasToken: token != nil)
    let result: CommandResult
    do throws(MirrorFailure) {
      result = try await run(words, variables, in: directory, isGrowing: true) { mirror.fetching = $0 }
    } catch {
      await remove(directory)
      throw error
    }
    return Fetched(
      directory: directory, failure: failure(result, token),
      blamesMirror: reusing && !result.timedOut && Git.blames(repository, result.standardError),
      words: Git.lastWords(result.standardError, token: token))
  }

  private func failure(_ result: CommandResult, _ token: [UInt8]?) -> MirrorFailure? {
    guard !result.succeeded else { return nil }
    if result.timedOut {
      return MirrorFailure("git took longer than \(bounds.deadline.components.seconds) s and was killed")
    }
    let words = Git.lastWords(result.standardError, token: token)
    // All that git says when the bound on its files, or the want of memory, has killed the part of it that writes packs.
    if words == "fatal: fetch-pack: invalid index-pack output" { return tooLarge }
    return MirrorFailure(words.isEmpty ? "git ended with \(result.status)" : words)
  }

  private var tooLarge: MirrorFailure {
    MirrorFailure(
      "it is larger than the \(bounds.size >> 20) MiB that a mirror may have, or memory ran out: "
        + "set repo_cache = false in its profile")
  }

  /// Whether the packs of the mirror have something that the remote does not show any more. What was pushed by mistake
  /// and taken back must be in no later session.
  private func hasDropped(
    _ tips: [String]?, _ directory: String, _ mirror: Mirror
  ) async throws(MirrorFailure) -> Bool {
    guard let tips, tips.count <= Self.movedLimit else { return true }
    guard !tips.isEmpty else { return false }
    let result = try await run(git.unreachable(directory, from: tips), environment, in: directory) {
      mirror.fetching = $0
    }
    return !result.succeeded || !result.standardOutput.isEmpty
  }

  /// Makes what was fetched the mirror.
  private func adopt(_ fetched: Fetched, _ mirror: Mirror, reusing: Bool) async throws(MirrorFailure) {
    let files = mirror.files
    let directory = fetched.directory
    do {
      if let failure = fetched.failure { throw failure }
      guard await isWithinBounds(directory) else { throw tooLarge }
      let (isLoose, tips) = try await worker.run { () throws(SystemError) in
        let tips = reusing ? files.droppedTips(by: directory) : []
        if reusing { try files.lendPacks(to: directory) }
        return (MirrorFiles.hasLooseObjects(directory), tips)
      }
      if isLoose {
        let result = try await run(git.pack(directory), environment, in: directory) { mirror.fetching = $0 }
        if let failure = failure(result, nil) { throw failure }
      }
      if try await hasDropped(tips, directory, mirror) {
        let result = try await run(git.consolidate(directory), environment, in: directory) {
          mirror.fetching = $0
        }
        if let failure = failure(result, nil) { throw failure }
      }
      // With what it has from the mirror.
      guard await isWithinBounds(directory) else {
        // Most of it may be what the remote has dropped long ago.
        if reusing { suspects.insert(files.path) }
        throw tooLarge
      }
      try await replace(files, by: directory)
    } catch {
      await remove(directory)
      if let failure = error as? MirrorFailure { throw failure }
      throw MirrorFailure("its mirror cannot be written (\(error)): see to cache_root")
    }
  }

  private func isWithinBounds(_ directory: String) async -> Bool {
    await TreeSize.measure(directory, upTo: bounds.size, on: worker) <= bounds.size
  }

  private func replace(_ files: MirrorFiles, by directory: String) async throws(SystemError) {
    let old = "\(files.path)/removed-\(tag)-\(made)"
    made += 1
    try await worker.run { () throws(SystemError) in try files.replace(by: directory, removed: old) }
    await remove(old)
  }

  /// Puts all packs of a mirror into one, beside it, unless somebody asks for the mirror meanwhile.
  private func consolidate(_ mirror: Mirror) async {
    let files = mirror.files
    let packs = await worker.run { files.packCount() }
    guard packs > bounds.packs, mirror.wishes.isEmpty, !isClosed else { return }
    let directory = workDirectory(files)
    var isSound = true
    do {
      try await worker.run { () throws(SystemError) in try files.copy(to: directory) }
      guard mirror.wishes.isEmpty else { return await remove(directory) }
      let result = try await run(git.consolidate(directory), environment, in: directory) {
        mirror.consolidating = packs > bounds.mostPacks ? nil : $0
      }
      isSound = result.succeeded || result.timedOut || result.status == .signaled(SIGKILL)
      if result.succeeded { try await replace(files, by: directory) }
    } catch {
      onEvent?(.notRemoved(reason: "A mirror was not consolidated: \(error)"))
    }
    if !isSound { suspects.insert(files.path) }
    await remove(directory)
  }

  private func workDirectory(_ files: MirrorFiles) -> String {
    made += 1
    return "\(files.path)/incoming-\(tag)-\(made)"
  }

  /// Runs git.
  ///
  /// - Parameters:
  ///   - directory: what it works on, which is for it alone.
  ///   - isGrowing: whether that may become larger than a mirror may be.
  ///   - hold: is given the child while it runs, and nil then.
  private func run(
    _ words: [String], _ environment: [String], in directory: String, isGrowing: Bool = false,
    _ hold: (Child?) -> Void
  ) async throws(MirrorFailure) -> CommandResult {
    guard !isClosed else { throw MirrorFailure("the daemon is stopping") }
    let mark = Git.mark(of: directory)
    let child: Child
    do throws(SystemError) {
      child = try Child(
        Command(
          executable: git.executable, arguments: words, environment: environment + [mark],
          deadline: bounds.deadline, fileSizeLimit: bounds.size))
    } catch {
      throw MirrorFailure("git could not be started (\(error))")
    }
    let id = ObjectIdentifier(child)
    running[id] = child
    hold(child)
    let growth =
      isGrowing
      ? GrowthWatch(directory, limit: bounds.size, every: bounds.lookInterval, on: worker) {
        self.kill(child)
      } : nil
    let result = await child.wait()
    growth?.end()
    hold(nil)
    running[id] = nil
    let wasKilled = killed.remove(id) != nil || result.timedOut
    if case .signaled = result.status, !wasKilled { await endRemains(of: mark) }
    if growth?.isExceeded ?? false { throw tooLarge }
    return result
  }

  private func kill(_ child: Child?) {
    guard let child else { return }
    killed.insert(ObjectIdentifier(child))
    child.kill()
  }

  /// Whether somebody waits for a mirror, or something is done with it.
  func isInUse(_ path: String) -> Bool { mirrors[path] != nil }

  /// Ends every git, and begins none any more.
  public func close() async {
    isClosed = true
    nextSweep?.cancel()
    for child in running.values {
      kill(child)
      _ = await child.wait()
    }
  }

}

/// A number in hex digits, as many as its type has.
func hex(_ number: some FixedWidthInteger) -> String {
  let digits = String(number, radix: 16)
  return String(repeating: "0", count: number.bitWidth / 4 - digits.count) + digits
}
