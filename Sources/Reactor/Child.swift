// A child process: started, captured, bounded in time, and reaped once.

internal import CSupport
internal import Glibc
internal import SystemPackage

/// What to start and within which bounds.
public struct Command: Sendable {
  /// Absolute path of the program.
  public var executable: String
  /// Its arguments, without the program's own name.
  public var arguments: [String]
  /// Its whole environment.
  public var environment: ChildEnvironment
  /// How long it may run before it and its process group are killed.
  public var deadline: Duration
  /// How many bytes are kept of the beginning of stdout and of the end of stderr. All else is read and dropped.
  public var captureLimit: Int
  /// Whether its stdout is of interest; else that is /dev/null.
  public var hasOutput = true
  /// The largest file, in bytes, that it and its children may write (RLIMIT_FSIZE); nil for what the daemon may.
  public var fileSizeLimit: UInt64?
  /// How long the kernel may take to end it once it was killed. A process that waits for a device or a file system that
  /// does not answer is not ended before that does.
  public var killPatience: Duration = .seconds(5)

  /// - Parameters: as the properties say; the environment as NAME=value.
  public init(
    executable: String, arguments: [String], environment: [String], deadline: Duration,
    captureLimit: Int = 1 << 16, fileSizeLimit: UInt64? = nil
  ) {
    self.init(
      executable: executable, arguments: arguments, environment: ChildEnvironment(environment),
      deadline: deadline, captureLimit: captureLimit, fileSizeLimit: fileSizeLimit)
  }

  /// - Parameters: as the properties say.
  public init(
    executable: String, arguments: [String], environment: ChildEnvironment, deadline: Duration,
    captureLimit: Int = 1 << 16, fileSizeLimit: UInt64? = nil
  ) {
    self.fileSizeLimit = fileSizeLimit
    self.executable = executable
    self.arguments = arguments
    self.environment = environment
    self.deadline = deadline
    self.captureLimit = captureLimit
  }
}

/// How a child ended and what it said.
public struct CommandResult: Sendable {
  /// How it ended.
  public let status: ExitStatus
  /// The first bytes of its stdout, up to the capture limit.
  public let standardOutput: [UInt8]
  /// The last bytes of its stderr, up to the capture limit: what failed is said last.
  public let standardError: [UInt8]
  /// Whether it was killed because its deadline had passed.
  public let timedOut: Bool
  /// Whether it was killed and is still there: it does nothing more, and goes when the kernel lets it.
  public var isStuck = false

  /// Whether it ended by itself with exit code 0.
  public var succeeded: Bool { status == .exited(0) && !timedOut }
}

/// A running child of this process. Ends up reaped and with every descriptor closed, whatever happens.
@Loop
public final class Child {
  /// From when on what it writes to stderr is read as it comes. Most children are gone by then and have written little, which
  /// the pipe has kept: to be told of its end would be one more time that the loop is woken. What is more than the pipe
  /// holds waits for this.
  private static let quietTime: Duration = .milliseconds(250)

  private let pid: Int32
  private var pidfd: Descriptor?
  private var exitWatch: Watch?
  private let expiry: Instant
  /// Until its errors are watched, and then until its deadline.
  private var deadline: Timer?
  private let output: Capture?
  private let errorOutput: Capture
  private var status: ExitStatus?
  private var timedOut = false
  private let killPatience: Duration
  private var patience: Timer?
  /// It has ended, or was killed and does not end.
  private let given = Latch()
  /// It has ended.
  private let ended = Latch()

  /// Starts a command with stdin from /dev/null.
  ///
  /// - Throws: `SystemError` when it cannot be started; nothing is left behind then.
  public init(_ command: Command) throws(SystemError) {
    let output = command.hasOutput ? try Capture(.beginning, limit: command.captureLimit) : nil
    let errorOutput: Capture
    do throws(SystemError) {
      try output?.begin()
      errorOutput = try Capture(.end, limit: command.captureLimit)
    } catch {
      output?.close()
      throw error
    }
    expiry = Loop.now + command.deadline
    self.output = output
    self.errorOutput = errorOutput
    killPatience = command.killPatience
    var pid: Int32 = 0
    let pidfd: Descriptor
    do throws(SystemError) {
      pidfd = try Self.spawn(command, output: output, errorOutput: errorOutput, pid: &pid)
    } catch {
      output?.close()
      errorOutput.close()
      throw error
    }
    self.pid = pid
    let raw = pidfd.raw
    self.pidfd = consume pidfd
    output?.closeChildEnd()
    errorOutput.closeChildEnd()
    do throws(SystemError) {
      // It was started a moment ago: what it starts later has the limit too, and it has written nothing yet.
      if let limit = command.fileSizeLimit {
        try SystemError.check("prlimit", agentd_limit_file_size(pid, limit))
      }
      // Keeps the child alive until it has been reaped, whoever has forgotten it.
      exitWatch = try Watch(raw, [.read, .once]) { _ in self.reap() }
    } catch {
      // It runs and nothing would tell of its end. Killed, it ends at once, so this wait is short.
      _ = Glibc.kill(-pid, SIGKILL)
      while waitpid(pid, nil, 0) < 0, errno == EINTR {}
      output?.close()
      errorOutput.close()
      throw error
    }
    awaitExpiry()
  }

  private func awaitExpiry() {
    deadline = Timer(at: min(expiry, Loop.now + Self.quietTime)) {
      guard Loop.now < self.expiry else { return self.expire() }
      do throws(SystemError) {
        try self.errorOutput.begin()
        self.deadline = Timer(at: self.expiry) { self.expire() }
      } catch {
        // The kernel has no room for one more watch. What is in the pipe is taken now and then.
        self.errorOutput.takeUnread()
        self.awaitExpiry()
      }
    }
  }

  private static func spawn(
    _ command: Command, output: Capture?, errorOutput: Capture, pid: inout Int32
  ) throws(SystemError) -> Descriptor {
    let words = CStrings(command.executable, command.arguments)
    let variables = command.environment.variables
    var pidfd: Int32 = -1
    let result = withExtendedLifetime((words, variables)) {
      withUnsafeTemporaryAllocation(of: Int32.self, capacity: 3) { descriptors in
        descriptors[0] = -1
        descriptors[1] = output?.childEnd ?? -1
        descriptors[2] = errorOutput.childEnd
        return agentd_spawn(
          words.pointers[0], words.pointers, variables.pointers, descriptors.baseAddress, &pid, &pidfd)
      }
    }
    try SystemError.check("start \(command.executable)", result)
    return Descriptor(owning: pidfd)
  }

  /// How it ended, as soon as it has. One that was killed is waited for no longer than the command says.
  public func wait() async -> CommandResult {
    await given.wait()
    return CommandResult(
      status: status ?? .signaled(SIGKILL), standardOutput: output?.bytes ?? [],
      standardError: errorOutput.bytes,
      timedOut: timedOut, isStuck: status == nil)
  }

  /// Returns when it has ended, however long the kernel takes for that.
  public func end() async { await ended.wait() }

  /// Kills the child and its process group at once. `wait` then returns soon.
  public func kill() {
    guard status == nil else { return }
    // The group's number is ours until the child is reaped, which only this class does.
    _ = Glibc.kill(-pid, SIGKILL)
    guard patience == nil else { return }
    patience = Timer(after: killPatience) { self.given.open() }
  }

  private func expire() {
    timedOut = true
    kill()
  }

  private func reap() {
    guard let raw = pidfd?.raw else { return }
    var waitStatus: Int32 = 0
    let result = agentd_reap(raw, &waitStatus)
    precondition(
      result >= 0, "the reactor is the only reaper, yet a child is gone: \(Errno(rawValue: -result))")
    guard result == 1 else {
      exitWatch?.rearm()
      return
    }
    status = ExitStatus(waitStatus: waitStatus)
    deadline?.cancel()
    patience?.cancel()
    exitWatch?.close()
    exitWatch = nil
    deadline = nil
    patience = nil
    pidfd = nil
    // All that the child itself wrote is in the pipes by now. Another holder of their other ends, if it left one
    // behind, is not waited for.
    output?.close()
    errorOutput.close()
    given.open()
    ended.open()
  }
}

extension Command {
  /// Starts the command and returns how it ended.
  @Loop
  public func run() async throws(SystemError) -> CommandResult {
    try await Child(self).wait()
  }
}

/// The environment of children. Put together once for all that have the same; what holds a secret goes with its command.
public struct ChildEnvironment: Sendable {
  fileprivate let variables: CStrings

  /// - Parameter variables: as NAME=value.
  public init(_ variables: [String]) { self.variables = CStrings(nil, variables) }
}

/// Strings as a C program has them: all of them in one piece of memory, and a list of where each begins that ends with nil.
/// Sendable without checking: nobody writes into them once they are made.
private final class CStrings: @unchecked Sendable {
  let pointers: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
  private let bytes: UnsafeMutablePointer<CChar>

  /// - Parameters:
  ///   - first: what comes before all others; nil for nothing.
  ///   - others: the others.
  init(_ first: String?, _ others: [String]) {
    let count = others.count + (first == nil ? 0 : 1)
    pointers = .allocate(capacity: count + 1)
    bytes = .allocate(
      capacity: others.reduce(first.map { $0.utf8.count + 1 } ?? 0) { $0 + $1.utf8.count + 1 })
    var (next, place) = (bytes, pointers)
    func append(_ string: String) {
      place.pointee = next
      place += 1
      // The words of a launch are kilobytes: copied as a whole, not byte by byte. The last of the bytes is their end.
      let length = string.utf8.count
      string.withCString { _ = memcpy(next, $0, length + 1) }
      next += length + 1
    }
    if let first { append(first) }
    for string in others { append(string) }
    place.pointee = nil
  }

  deinit {
    pointers.deallocate()
    bytes.deallocate()
  }
}

/// One of a child's output streams: read as it comes once that has begun, and at the end. Kept up to a limit.
@Loop
private final class Capture {
  enum Part { case beginning, end }

  /// Reads at a time: a process that writes without end would else keep the loop.
  private static let readLimit = 64

  private let part: Part
  private let limit: Int
  private var fd: Descriptor?
  private var childDescriptor: Descriptor?
  private var watch: Watch?
  private var read: [UInt8] = []

  /// What is kept.
  var bytes: [UInt8] { part == .end && read.count > limit ? Array(read.suffix(limit)) : read }

  init(_ part: Part, limit: Int) throws(SystemError) {
    self.part = part
    self.limit = limit
    var ends: (Int32, Int32) = (-1, -1)
    let result = withUnsafeMutableBytes(of: &ends) {
      agentd_capture_pipe($0.assumingMemoryBound(to: Int32.self).baseAddress)
    }
    try SystemError.check("pipe2", result)
    fd = Descriptor(owning: ends.0)
    childDescriptor = Descriptor(owning: ends.1)
  }

  /// From now on what comes is read.
  func begin() throws(SystemError) {
    guard let raw = fd?.raw, watch == nil else { return }
    try SystemError.check("fcntl", agentd_capture_without_blocking(raw))
    // Its end is the last that is told of it. The watch is closed before this goes.
    watch = try Watch(raw, [.read, .once]) { [unowned self] in receive(hungUp: $0.contains(.hangup)) }
  }

  var childEnd: Int32 {
    guard let raw = childDescriptor?.raw else {
      preconditionFailure("the child's end is closed after the start")
    }
    return raw
  }

  func closeChildEnd() { childDescriptor = nil }

  /// Takes what is there and ends the capture.
  func close() {
    if watch == nil { takeUnread() } else { _ = take(toEnd: false) }
    release()
  }

  /// Reads what is there. Most have said nothing, and of them nothing more is asked.
  func takeUnread() {
    guard let raw = fd?.raw, agentd_pipe_unread(raw) > 0, agentd_capture_without_blocking(raw) >= 0 else {
      return
    }
    _ = take(toEnd: false)
  }

  isolated deinit { close() }

  private func release() {
    watch?.close()
    watch = nil
    fd = nil
    childDescriptor = nil
  }

  private func receive(hungUp: Bool) {
    switch take(toEnd: hungUp) {
    case .ended: release()
    case .empty: watch?.rearm()
    case .more: Loop.spawn { [weak self] in self?.receive(hungUp: hungUp) }
    }
  }

  private func keep(_ piece: Slice<UnsafeMutableRawBufferPointer>) {
    switch part {
    case .beginning: read.append(contentsOf: piece.prefix(limit - read.count))
    case .end:
      read.append(contentsOf: piece)
      // Not with each piece, as what is kept moves then.
      if read.count > 2 * limit { read.removeFirst(read.count - limit) }
    }
  }

  private enum Remainder { case ended, empty, more }

  /// Reads what is in the pipe.
  ///
  /// - Parameter toEnd: whether everybody who could write to it has gone. Otherwise a read that brings less than was
  ///   asked for has emptied it.
  private func take(toEnd: Bool) -> Remainder {
    guard let raw = fd?.raw else { return .ended }
    let buffer = Loop.readBuffer
    // The rest takes its turn.
    for _ in 0..<Self.readLimit {
      let count = Glibc.read(raw, buffer.baseAddress, buffer.count)
      guard count > 0 else { return count == 0 ? .ended : .empty }
      keep(buffer[..<count])
      if count < buffer.count, !toEnd { return .empty }
    }
    return .more
  }
}
