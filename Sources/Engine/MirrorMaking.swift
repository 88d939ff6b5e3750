// Making a mirror what its remote is: how git is run for that, and what becomes of what it has fetched.

internal import Glibc
internal import Reactor

/// References that may have moved in one fetch for git to be asked whether anything was dropped by it.
private let movedLimit = 1000

extension Mirrors {
  /// Has git bring a mirror up to date, or make it anew where it is of no use.
  func bringUpToDate(_ mirror: Mirror, _ token: [UInt8]?) async throws(MirrorFailure) {
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
    guard let tips, tips.count <= movedLimit else { return true }
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
  func consolidate(_ mirror: Mirror) async {
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
    let child: Child
    do throws(SystemError) {
      child = try Child(
        Command(
          executable: git.executable, arguments: words, environment: environment + [Git.mark(of: directory)],
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
    if case .signaled = result.status, !wasKilled { await endRemains(of: directory) }
    if growth?.isExceeded ?? false { throw tooLarge }
    return result
  }

  /// Ends a git with all that it has started.
  func kill(_ child: Child?) {
    guard let child else { return }
    killed.insert(ObjectIdentifier(child))
    child.kill()
  }
}
