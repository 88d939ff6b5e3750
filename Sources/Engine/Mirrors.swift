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
  @Loop final class Wish {
    let session: String
    let continuation: CheckedContinuation<Result<String, MirrorFailure>, Never>

    init(_ session: String, _ continuation: CheckedContinuation<Result<String, MirrorFailure>, Never>) {
      self.session = session
      self.continuation = continuation
    }
  }

  /// A mirror that something is done with.
  @Loop final class Mirror {
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
  let environment: [String]
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
  var running: [ObjectIdentifier: Child] = [:]
  /// Those among them that were ended with all that they have started.
  var killed: Set<ObjectIdentifier> = []
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

  // MARK: Serving them

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
