// A process that is not our child, held by a pidfd: podman's, conmon's and the container's own.

internal import CSupport
internal import Glibc
internal import SystemPackage

/// Watches a process whose parent is somebody else, and signals it without ever meeting another one that was given
/// the same number.
@Loop
public final class Process {
  /// One of the two until it is closed.
  private var pidfd: Descriptor?
  private var stowed: StowedFile?
  /// How long a process that has ended may stay unreaped before its status is given up. Its parent reaps it at once;
  /// whoever inherits it from a dead parent may take its time.
  public static let reapPatience: Duration = .seconds(5)

  /// Whether this kernel was seen to tell how a process ended. It then tells when the process was reaped, and not before, so
  /// that asking earlier is for nothing; and of one that is stowed each answer takes three calls.
  private static var kernelTells = false

  private let reapPatience: Duration
  private var needsStatus: Bool
  private var watch: Watch?
  private var reapTimer: Timer?
  private let ended = Latch()
  /// How it ended: known after `wait`, where the kernel tells (Linux 6.15 and later).
  public private(set) var status: ExitStatus?
  /// Called on the loop when it has ended.
  public var onExit: (@Loop () -> Void)?

  /// - Parameters:
  ///   - pid: a process that exists now. The caller makes sure that the number still means the process it thinks of.
  ///   - parent: who its parent has to be. What has another one is not the process that was thought of: ESRCH.
  ///   - needsStatus: whether its end is told only when its status can be read, after its parent has reaped it.
  ///   - isStowed: whether it is held without a descriptor, where the kernel can do that: for one of which little more
  ///     than its end is to be known. All else works as well, and costs more.
  ///   - reapPatience: how long a process that has ended may stay unreaped; a test may have less.
  /// - Throws: `SystemError`; ESRCH when there is no such process.
  public init(
    pid: Int32, childOf parent: Int32? = nil, needsStatus: Bool = true, isStowed: Bool = false,
    reapPatience: Duration = Process.reapPatience
  ) throws(SystemError) {
    self.needsStatus = needsStatus
    self.reapPatience = reapPatience
    let opened = Descriptor(owning: try SystemError.check("pidfd_open", agentd_pidfd_open(pid)))
    let raw = opened.raw
    // Held first and asked then, so that who was asked is who is held.
    if let parent, Self.parent(of: pid, heldBy: raw) != parent {
      throw SystemError("pidfd_open", .noSuchProcess)
    }
    // The watch is closed before this goes. (A weak reference would make each later one to it slower.)
    let onReady: @Loop (Interest) -> Void = { [unowned self] in examine(hungUp: $0.contains(.hangup)) }
    if isStowed, let file = StowedFile(raw) {
      stowed = file
      watch = try Watch(file, .read, onReady)
    } else {
      pidfd = consume opened
      watch = try Watch(raw, .read, onReady)
    }
  }

  /// The process id of a process's parent now; nil when there is no such process.
  public nonisolated static func parent(of pid: Int32) -> Int32? {
    let opened = agentd_pidfd_open(pid)
    guard opened >= 0 else { return parentByStat(of: pid) }
    let pidfd = Descriptor(owning: opened)
    return parent(of: pid, heldBy: pidfd.raw)
  }

  private nonisolated static func parent(of pid: Int32, heldBy pidfd: Int32) -> Int32? {
    let parent = agentd_pidfd_parent(pidfd)
    return parent >= 0 ? parent : parentByStat(of: pid)
  }

  /// The same where no pidfd tells (before Linux 6.13, or without a descriptor for one). It takes three times as long.
  private nonisolated static func parentByStat(of pid: Int32) -> Int32? {
    let raw = open("/proc/\(pid)/stat", O_RDONLY | O_CLOEXEC)
    guard raw >= 0 else { return nil }
    let file = Descriptor(owning: raw)
    let bytes = [UInt8](unsafeUninitializedCapacity: 1024) { buffer, filled in
      filled = max(0, Glibc.read(file.raw, buffer.baseAddress, buffer.count))
    }
    // proc(5): "pid (comm) state ppid …", and comm may hold anything, parentheses included.
    guard let end = bytes.lastIndex(of: UInt8(ascii: ")")) else { return nil }
    let fields = bytes[(end + 1)...].split(separator: UInt8(ascii: " "))
    return fields.count > 1 ? Int32(String(decoding: fields[1], as: UTF8.self)) : nil
  }

  /// Whether it has ended.
  public var hasEnded: Bool { ended.isOpen }

  /// Whether its end was seen, reaped or not. The ends of several processes are seen in their order.
  public private(set) var isEnding = false

  /// Whether it has not ended, asked of the kernel now: its end may not have been seen yet.
  public var isAlive: Bool {
    guard !isEnding else { return false }
    return ask { raw in
      var polled = pollfd(fd: raw, events: Int16(POLLIN), revents: 0)
      return poll(&polled, 1, 0) == 0
    } ?? (stowed != nil)
  }

  /// Has its end told as soon as it has ended, its status known or not: for one whose parent is gone, because whoever
  /// has inherited it may never reap it.
  public func forgoStatus() {
    needsStatus = false
    if isEnding { finish() }
  }

  /// Reads the status of a process that ended before its parent had reaped it. nil while that is so, and where the
  /// kernel does not tell.
  public func readStatus() -> ExitStatus? {
    if status == nil, isEnding { examineStatus() }
    return status
  }

  /// What `agentd_pidfd_exit` answers; the status is kept where there is one.
  @discardableResult
  private func examineStatus() -> Int32? {
    var waitStatus: Int32 = 0
    let result = ask { agentd_pidfd_exit($0, &waitStatus) }
    if result == 1 {
      status = ExitStatus(waitStatus: waitStatus)
      Self.kernelTells = true
    }
    return result
  }

  /// Asks the kernel by a pidfd, for a moment where it is stowed; nil when the process was let go, and when it is stowed
  /// and no descriptor is to be had.
  private func ask<Answer>(_ question: (Int32) -> Answer) -> Answer? {
    if let raw = pidfd?.raw { return question(raw) }
    guard let reopened = stowed?.reopen() else { return nil }
    return question(reopened.raw)
  }

  /// Returns when the process has ended and, where its status is needed and the kernel tells it, has been reaped.
  public func wait() async { await ended.wait() }

  /// Sends a signal. A process that has ended is no error: there is nothing left to tell.
  public func signal(_ signal: Int32) throws(SystemError) {
    guard let result = ask({ agentd_pidfd_signal($0, signal) }) else {
      guard stowed == nil else { throw SystemError("reopen a pidfd", .tooManyOpenFiles) }
      return
    }
    guard result != -Errno.noSuchProcess.rawValue else { return }
    try SystemError.check("pidfd_send_signal", result)
  }

  /// Lets the process go. To be called once, on every path.
  public func close() {
    watch?.close()
    watch = nil
    reapTimer?.cancel()
    reapTimer = nil
    pidfd = nil
    stowed?.close()
    stowed = nil
    onExit = nil
    ended.open()
  }

  isolated deinit { close() }

  private func examine(hungUp: Bool) {
    guard !ended.isOpen else { return }
    isEnding = true
    guard needsStatus, !hungUp else {
      if stowed == nil || needsStatus { examineStatus() }
      return finish()
    }
    // A zombie, whose status is known once its parent has reaped it; unless it was by now, or this kernel cannot say. 0 where
    // there is no descriptor to ask by: there may be one then.
    let answer = Self.kernelTells ? 0 : examineStatus() ?? 0
    guard answer == 0 else { return finish() }
    if reapTimer == nil { reapTimer = Timer(after: reapPatience) { [unowned self] in giveUp() } }
  }

  /// Looks once more: where the loop was held up, the timer may come before what tells that the process was reaped.
  private func giveUp() {
    examineStatus()
    finish()
  }

  private func finish() {
    guard !ended.isOpen else { return }
    reapTimer?.cancel()
    reapTimer = nil
    ended.open()
    onExit?()
  }
}
