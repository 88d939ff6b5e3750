// The daemon that has this instance now, and that is asked to hand it over.

internal import Glibc
internal import Logging
internal import Reactor

/// A running daemon, held by a pidfd. Asked by a signal, because the socket speaks to its own build only, and an
/// upgrade is another one.
@Loop
struct Predecessor {
  /// How long it may take to leave: longer than `Service` takes at most.
  private static let patience: Duration = .seconds(60)
  /// The longest pid that is read from a pid file, with its newline.
  private nonisolated static let pidLimit = 32

  let pidFile: String
  let worker: Worker
  let log: Logger

  /// Asks the daemon that holds the pid file to hand over, and returns when it has gone. Nobody there is fine.
  func handOver() async throws(StartFailure) {
    guard let pid = await worker.run({ [pidFile] in Self.holder(of: pidFile) }) else { return }
    let process: Process
    do throws(SystemError) {
      process = try Process(pid: pid, needsStatus: false)
    } catch {
      guard error.errno != .noSuchProcess else { return }
      throw StartFailure("The daemon that runs (pid \(pid)) cannot be watched (\(error)): raise the limits.")
    }
    defer { process.close() }
    // Looked at again now that it is held: the number may have become another's.
    guard await worker.run({ [pidFile] in Self.holder(of: pidFile) }) == pid else { return }
    guard await worker.run({ Self.takes(Service.handOverSignal, pid) }) else {
      throw StartFailure(
        "The daemon that runs (pid \(pid)) is of a build that cannot hand over: end it with SIGTERM, which lets its "
          + "sessions finish, and start this one then.")
    }
    log.info("agentd.replacing", metadata: ["pid": .stringConvertible(pid)])
    do throws(SystemError) {
      try process.signal(Service.handOverSignal)
    } catch {
      throw StartFailure("The daemon that runs (pid \(pid)) cannot be asked to hand over (\(error)).")
    }
    let gone = Latch()
    process.onExit = { gone.open() }
    if process.hasEnded { return }
    let timer = Timer(after: Self.patience) { gone.open() }
    await gone.wait()
    timer.cancel()
    guard process.hasEnded else {
      throw StartFailure(
        "The daemon that runs (pid \(pid)) has not handed over within \(Self.patience.components.seconds) s: see its "
          + "log.")
    }
  }

  /// The process that is named in the pid file and has that very file open; nil when there is none.
  nonisolated static func holder(of pidFile: String) -> Int32? {
    let raw = open(pidFile, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard raw >= 0 else { return nil }
    let file = Descriptor(owning: raw)
    let bytes = [UInt8](unsafeUninitializedCapacity: pidLimit) { buffer, filled in
      filled = max(0, read(file.raw, buffer.baseAddress, buffer.count))
    }
    var held = stat()
    guard let pid = Int32(String(decoding: bytes.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)),
      pid != getpid(), fstat(file.raw, &held) == 0, let directory = opendir("/proc/\(pid)/fd")
    else { return nil }
    defer { closedir(directory) }
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      var status = stat()
      guard stat("/proc/\(pid)/fd/\(name)", &status) == 0 else { continue }
      if status.st_ino == held.st_ino, status.st_dev == held.st_dev { return pid }
    }
    return nil
  }

  /// Whether a process receives a signal instead of dying of it (proc(5): SigBlk, because a signalfd has it blocked).
  nonisolated static func takes(_ signal: Int32, _ pid: Int32) -> Bool {
    let raw = open("/proc/\(pid)/status", O_RDONLY | O_CLOEXEC)
    guard raw >= 0 else { return false }
    let file = Descriptor(owning: raw)
    let bytes = [UInt8](unsafeUninitializedCapacity: 1 << 13) { buffer, filled in
      filled = max(0, read(file.raw, buffer.baseAddress, buffer.count))
    }
    let line = String(decoding: bytes, as: UTF8.self).split(separator: "\n").first { $0.hasPrefix("SigBlk:") }
    let digits = line?.drop { $0 != "\t" }.dropFirst() ?? ""
    return UInt64(digits, radix: 16).map { $0 & 1 << UInt64(signal - 1) != 0 } ?? false
  }
}
