// What becomes of mirrors that nobody asks for, and of what earlier daemons of this instance have left.

internal import Glibc
internal import Reactor
internal import Time

extension Mirrors {
  /// Entries removed in one step: about a millisecond, in which a short job of a session may have to wait.
  private nonisolated static let removalStep = 256
  /// How long the kernel may take to end a git that was killed.
  private static let killPatience: Duration = .seconds(5)

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
    let orphans = await worker.run { [program = git.executable, mirrorsPath, tag, user = geteuid()] in
      Process.all(of: user).filter { _, arguments in
        arguments.first == program
          && arguments.contains { $0.contains("\(mirrorsPath)/") && !$0.contains("-\(tag)-") }
      }
    }
    for (pid, arguments) in orphans {
      // Held first and looked at again: the number may have become another's.
      guard let process = try? Process(pid: pid, needsStatus: false) else { continue }
      if Process.arguments(of: pid) == arguments {
        // It leads a group of its own, and what it has started for the network has its token. The number stays the
        // group's while any of them lives.
        _ = kill(-pid, SIGKILL)
        onEvent?(.orphanEnded(pid: pid))
        let patience = Timer(after: Self.killPatience) { process.close() }
        await process.wait()
        patience.cancel()
      }
      process.close()
    }
  }

  /// Ends what a git has started that was ended by a signal, and not by us: the kernel takes one process when it wants
  /// memory. Its group has no number any more that would be sure to be its own; what it worked on stands in the
  /// environment of each.
  func endRemains(of mark: String) async {
    var held: [Process] = []
    var seen: Set<Int32> = []
    // Again, as long as there are others: one may have started another before it was ended.
    while true {
      let found = await worker.run { [user = geteuid()] in
        Process.all(of: user).map(\.pid).filter { Self.isMarked($0, mark) }
      }
      let new = found.filter { seen.insert($0).inserted }
      guard !new.isEmpty else { break }
      for pid in new {
        // Held first and looked at again: the number may have become another's.
        guard let process = try? Process(pid: pid, needsStatus: false) else { continue }
        held.append(process)
        if await worker.run({ Self.isMarked(pid, mark) }) {
          try? process.signal(SIGKILL)
        } else {
          process.close()
        }
      }
      let patience = Timer(after: Self.killPatience) { [held] in for process in held { process.close() } }
      for process in held { await process.wait() }
      patience.cancel()
    }
    for process in held { process.close() }
  }

  private nonisolated static func isMarked(_ pid: Int32, _ mark: String) -> Bool {
    guard let variables = try? MirrorFiles.read("/proc/\(pid)/environ") else { return false }
    return variables.split(separator: 0).contains { $0.elementsEqual(mark.utf8) }
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
