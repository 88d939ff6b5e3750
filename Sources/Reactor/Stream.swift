// Bytes over a non-blocking descriptor: a connected socket, or one end of a FIFO.

internal import CSupport
internal import Glibc
internal import SystemPackage

/// Why bytes could not be read or written.
public enum StreamError: Error, Equatable, CustomStringConvertible {
  /// This side closed the stream while somebody waited for it.
  case closed
  /// Nothing moved within the given time.
  case timedOut
  /// The other side has gone: EPIPE or ECONNRESET.
  case peerGone
  /// Any other error of the kernel, in its words.
  case failed(String)

  /// A clause for a sentence.
  public var description: String {
    switch self {
    case .closed: "the connection was closed"
    case .timedOut: "the other side took too long"
    case .peerGone: "the other side has gone"
    case .failed(let reason): reason
    }
  }
}

/// Reads and writes without ever blocking the loop. At most one reader and one writer wait at a time.
@Loop
public final class Stream {
  private typealias Waiter = CheckedContinuation<StreamError?, Never>

  private var fd: Descriptor?
  private let interest: Interest
  private var watch: Watch?
  private var readable = true
  private var writable = true
  private var reader: Waiter?
  private var writer: Waiter?
  private let hungUp = Latch()

  /// Takes over a non-blocking descriptor.
  public init(_ descriptor: consuming Descriptor, _ interest: Interest = [.read, .write]) throws(SystemError)
  {
    fd = consume descriptor
    self.interest = interest
    try beginWatching()
  }

  /// Takes over the writing end of a pipe that is expected to take at once what is written: it is watched only where it does
  /// not.
  public init(writingTo pipe: consuming Descriptor) {
    fd = consume pipe
    interest = .write
  }

  private func beginWatching() throws(SystemError) {
    guard watch == nil, let raw = fd?.raw else { return }
    // The watch is closed before this goes.
    watch = try Watch(raw, interest) { [unowned self] in deliver($0) }
  }

  /// The next bytes, at least one; nil when the other side has ended its stream.
  ///
  /// - Parameters:
  ///   - limit: the most to return.
  ///   - patience: how long to wait for the first of them; nil for as long as it takes.
  public func read(upTo limit: Int, within patience: Duration? = nil) async throws(StreamError) -> [UInt8]? {
    while true {
      guard let raw = fd?.raw else { throw .closed }
      readable = false
      let buffer = Loop.readBuffer
      let count = Glibc.read(raw, buffer.baseAddress, min(limit, buffer.count))
      guard count < 0 else { return count == 0 ? nil : Array(buffer[..<count]) }
      switch errno {
      case EINTR: continue
      case EAGAIN: try await wait(\.readable, \.reader, patience)
      case let error: throw Self.triage("read", error)
      }
    }
  }

  /// Writes all of `bytes`.
  ///
  /// - Parameter patience: how long the other side may take none of them; nil for as long as it takes.
  public func write(_ bytes: [UInt8], within patience: Duration? = nil) async throws(StreamError) {
    try await write(bytes[...], within: patience)
  }

  /// Writes all of `bytes`, as for an array of them.
  public func write(_ bytes: ArraySlice<UInt8>, within patience: Duration? = nil) async throws(StreamError) {
    var rest = try writeAtOnce(bytes)
    while !rest.isEmpty {
      try await wait(\.writable, \.writer, patience)
      rest = try writeAtOnce(rest)
    }
  }

  /// Writes what the kernel takes without waiting for the other side.
  ///
  /// - Returns: the rest.
  public func writeAtOnce(_ bytes: ArraySlice<UInt8>) throws(StreamError) -> ArraySlice<UInt8> {
    precondition(writer == nil, "one task writes a stream")
    var rest = bytes
    while !rest.isEmpty {
      guard let raw = fd?.raw else { throw .closed }
      writable = false
      let count = rest.withUnsafeBytes { Glibc.write(raw, $0.baseAddress, $0.count) }
      if count >= 0 {
        rest = rest.dropFirst(count)
        continue
      }
      switch errno {
      case EINTR: continue
      case EAGAIN: return rest
      case let error: throw Self.triage("write", error)
      }
    }
    return rest
  }

  /// Whether this side has closed the stream.
  public var isClosed: Bool { fd == nil }

  /// Returns when the other side has gone for good, which is more than the end of what it sends, or when this side has
  /// closed the stream.
  public func hangUp() async { await hungUp.wait() }

  /// Lets a pipe hold so many bytes, where the kernel grants it: it refuses more than /proc/sys/fs/pipe-max-size, and
  /// the pipe then holds what it held before.
  ///
  /// - Returns: whether the pipe holds so many.
  public func reserve(_ bytes: Int) -> Bool {
    guard let raw = fd?.raw else { return false }
    // No pipe holds less than a page, pipe(7), so there is nothing to ask for.
    if bytes <= Int(PIPE_BUF) { return true }
    return agentd_pipe_reserve(raw, UInt32(clamping: bytes)) >= 0
  }

  /// Closes the descriptor; whoever waits is told so. Closing again does nothing.
  public func close() {
    watch?.close()
    watch = nil
    fd = nil
    resume(\.reader, .closed)
    resume(\.writer, .closed)
    hungUp.open()
  }

  private func wait(
    _ isReady: ReferenceWritableKeyPath<Stream, Bool>, _ waiter: ReferenceWritableKeyPath<Stream, Waiter?>,
    _ patience: Duration?
  ) async throws(StreamError) {
    do throws(SystemError) {
      try beginWatching()
    } catch {
      throw .failed("\(error)")
    }
    // The edge may have come between the call that found nothing and this line.
    guard !self[keyPath: isReady] else { return }
    precondition(self[keyPath: waiter] == nil, "one task reads a stream and one writes it")
    var timer: Timer?
    let error = await withCheckedContinuation { (continuation: Waiter) in
      // Asked again: a task that prefers no executor has left the loop and come back to it to get here.
      guard !self[keyPath: isReady] else { return continuation.resume(returning: nil) }
      self[keyPath: waiter] = continuation
      timer = patience.map { Timer(after: $0) { self.resume(waiter, .timedOut) } }
    }
    timer?.cancel()
    if let error { throw error }
  }

  private func deliver(_ ready: Interest) {
    if ready.contains(.hangup) { hungUp.open() }
    if ready.contains(.read) {
      readable = true
      resume(\.reader, nil)
    }
    if ready.contains(.write) {
      writable = true
      resume(\.writer, nil)
    }
  }

  private func resume(_ waiter: ReferenceWritableKeyPath<Stream, Waiter?>, _ error: StreamError?) {
    guard let continuation = self[keyPath: waiter] else { return }
    self[keyPath: waiter] = nil
    continuation.resume(returning: error)
  }

  private static func triage(_ call: String, _ error: Int32) -> StreamError {
    switch error {
    case EPIPE, ECONNRESET: .peerGone
    case EBADF, EFAULT: preconditionFailure("\(call) on a descriptor that is not ours")
    default: .failed("\(call): \(Errno(rawValue: error))")
    }
  }

  isolated deinit { close() }
}
