// What becomes of mirrors that nobody asks for, and of what earlier daemons of this instance have left.

internal import Glibc
internal import Reactor
internal import Time

extension Mirrors {
  /// Entries removed in one step: about a millisecond, in which a short job of a session may have to wait.
  private nonisolated static let removalStep = 256
  /// How long the kernel may take to end a git that was killed.
  private static let killPatience: Duration = .seconds(5)
  /// How often processes are looked for at most.
  private static let searchLimit = 16
  /// Processes looked at in one step: a few milliseconds.
  private static let searchStep = 256

  /// Removes what earlier daemons of this instance have left, but for what sessions that go on still need.
  ///
  /// Returns when it is known what that is; removing goes on beside everything else.
  public func start(keeping sessions: Set<String>) async {
    lastSweep = Loop.now
    let stale = await worker.run { [clonesPath] in
      let names = (try? MirrorFiles.names(in: clonesPath)) ?? []
      return names.filter { !sessions.contains($0) }.map { "\(clonesPath)/\($0)" }
    }
    Loop.spawn {
      await self.endOrphans()
      for path in stale { await self.remove(path) }
      await self.removeLeftovers()
      await self.dropUnused()
    }
  }

  /// A git that an earlier daemon has left works in a directory that nobody will use.
  private func endOrphans() async {
    let prefix = Array(Git.mark(of: "\(mirrorsPath)/").utf8)
    let own = Array("-\(tag)-".utf8)
    await end(
      whereMarked: { $0.starts(with: prefix) && $0.firstRange(of: own) == nil },
      "\(Git.mark(of: mirrorsPath))/…, but not …-\(tag)-…,"
    ) { self.onEvent?(.orphanEnded(pid: $0)) }
  }

  /// Ends what a git has started that was ended by a signal, and not by us: the kernel takes one process when it wants
  /// memory. Its group has no number any more that would be sure to be its own.
  func endRemains(of directory: String) async {
    let mark = Git.mark(of: directory)
    await end(whereMarked: { [bytes = Array(mark.utf8)] in $0.elementsEqual(bytes) }, mark)
  }

  /// Kills the processes with such a variable in their environment, and what they start until then, and waits for their
  /// end. The variable stands in no environment but that of a git of ours and of what it has started, so a git that the
  /// operator runs by hand is not among them.
  ///
  /// - Parameter mark: the variable, for the operator, who is told when there are always others.
  private func end(
    whereMarked isMark: @escaping @Sendable (ArraySlice<UInt8>) -> Bool, _ mark: String,
    _ onKill: (Int32) -> Void = { _ in }
  ) async {
    var killed: Set<Int32> = []
    // Again, as long as there are others: one may have started another before it was ended. And once more when there are
    // none: one that is becoming another program has no environment for a moment.
    var quiet = 0
    for _ in 0..<Self.searchLimit {
      let found = await marked(isMark).filter { !killed.contains($0) }
      if found.isEmpty {
        quiet += 1
        if quiet == 2 { return }
        continue
      }
      quiet = 0
      var held: [Process] = []
      for pid in found {
        // Held first and looked at again: the number may have become another's.
        guard let process = try? Process(pid: pid, needsStatus: false) else { continue }
        let isMarked = await worker.run { Process.environment(of: pid, holds: isMark) }
        guard isMarked, (try? process.signal(SIGKILL)) != nil else {
          process.close()
          continue
        }
        killed.insert(pid)
        held.append(process)
        onKill(pid)
      }
      let patience = Timer(after: Self.killPatience) { [held] in for process in held { process.close() } }
      for process in held { await process.wait() }
      patience.cancel()
      for process in held { process.close() }
    }
    guard quiet == 0 else { return }
    onEvent?(
      .notRemoved(
        reason:
          "Processes of a git that works for nobody may be left; \(killed.count) were killed. End those that have "
          + "\(mark) in their environment."))
  }

  /// The processes of our user with such a variable in their environment, looked for a few at a time, between which the
  /// worker may do something else.
  private func marked(_ isMark: @escaping @Sendable (ArraySlice<UInt8>) -> Bool) async -> [Int32] {
    var left = await worker.run { [user = geteuid()] in Process.numbers(of: user) }[...]
    var found: [Int32] = []
    while !left.isEmpty {
      let some = left.prefix(Self.searchStep)
      left = left.dropFirst(Self.searchStep)
      found += await worker.run { some.filter { Process.environment(of: $0, holds: isMark) } }
    }
    return found
  }

  /// What a git was making, or a removal had not finished, when its daemon died.
  private func removeLeftovers() async {
    let leftovers = await worker.run { [mirrorsPath, tag] in
      Self.directories(in: mirrorsPath).flatMap { profile in
        Self.directories(in: profile).flatMap { path in
          Self.isMirror(path) ? Self.directories(in: path) : [path]
        }
      }.filter { path in
        let name = path.split(separator: "/").last ?? ""
        return (name.hasPrefix("incoming-") || name.hasPrefix("removed-")) && !name.contains("-\(tag)-")
      }
    }
    for path in leftovers { await remove(path) }
  }

  /// Drops mirrors that nobody has asked for in a long time, and those beyond the number that a profile may have.
  func dropUnused() async {
    lastSweep = Loop.now
    let oldest = Loop.wallClock - maxAge
    let (unused, next) = await worker.run { [mirrorsPath] in
      var unused: [String] = []
      var next: Timestamp?
      for profile in Self.directories(in: mirrorsPath) {
        let mirrors = Self.directories(in: profile).filter(Self.isMirror)
          .map { (path: $0, used: Self.lastUse(of: $0)) }.sorted { $0.used > $1.used }
        let kept = mirrors.prefix(Self.countLimit).prefix { $0.used >= oldest }
        unused += mirrors[kept.endIndex...].map(\.path)
        if let last = kept.last { next = min(next ?? last.used, last.used) }
      }
      return (unused, next)
    }
    sweep(after: next.map { $0 - oldest })
    var dropped = 0
    // What is being asked for now has been asked for. Should it be asked for in the next moment, its first job comes
    // after this one, and finds nothing.
    for path in unused where !isInUse(path) {
      let old = "\(path.prefix(upTo: path.lastIndex(of: "/") ?? path.endIndex))/removed-\(tag)-\(made)"
      made += 1
      guard await worker.run({ rename(path, old) == 0 }) else { continue }
      suspects.remove(path)
      await remove(old)
      dropped += 1
    }
    if dropped > 0 { onEvent?(.dropped(count: dropped)) }
  }

  /// Looks again when the next one has not been asked for in a long time, though no fetch may come any more.
  func sweep(after delay: Duration?) {
    nextSweep?.cancel()
    nextSweep = nil
    guard let delay, !isClosed else { return }
    nextSweep = Timer(after: max(delay, bounds.sweepInterval)) { [weak self] in
      guard let self else { return }
      Loop.spawn { await self.dropUnused() }
    }
  }

  /// Removes a tree in steps, so that other work of the worker has its turn.
  func remove(_ path: String) async {
    do throws(SystemError) {
      while try await worker.run({ () throws(SystemError) in
        try MirrorFiles.remove(path, entries: Self.removalStep)
      }) == false {}
    } catch {
      onEvent?(.notRemoved(reason: "\(error)"))
    }
  }

  /// The directories in a directory, no links.
  private nonisolated static func directories(in path: String) -> [String] {
    let names = (try? MirrorFiles.names(in: path)) ?? []
    return names.map { "\(path)/\($0)" }.filter { path in
      var status = stat()
      return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }
  }

  /// Whether a directory is named like a mirror.
  private nonisolated static func isMirror(_ path: String) -> Bool {
    let name = path.split(separator: "/").last ?? ""
    return name.utf8.count == 32 && name.allSatisfy { $0.isHexDigit && !$0.isUppercase }
  }

  /// When git was last asked to bring a mirror up to date: that makes a directory in it.
  private nonisolated static func lastUse(of mirror: String) -> Timestamp {
    var status = stat()
    guard lstat(mirror, &status) == 0 else { return Timestamp(secondsSinceEpoch: 0) }
    return Timestamp(secondsSinceEpoch: Int64(status.st_mtim.tv_sec))
  }
}
