// Writing to a descriptor that others share, stdout or stderr, without ever waiting in the write.

internal import CSupport
internal import Glibc
internal import SystemPackage

/// Keeps what the reader of a terminal or pipe does not take, up to a limit, and writes it when it does.
///
/// The descriptor's O_NONBLOCK flag is left alone: it belongs to every process that shares the open file. A pipe or
/// socket that poll(2) calls writable takes a page without blocking. A terminal may take a single byte and then block,
/// so it is opened once more, as a file of our own that does not.
@Loop
public final class InheritedOutput {
  private static let chunk = 4096

  private let fd: Int32
  private let reopened: Descriptor?
  private let limit: Int
  private var buffer: [UInt8] = []
  private var watch: Watch?
  /// Why nothing is taken any more, once a write has failed: EPIPE when the reader has gone.
  public private(set) var failure: SystemError?
  private var drained: [CheckedContinuation<Void, Never>] = []
  private var droppedBytes = 0
  private var isGathering = false
  /// Whether a write of this file can be told not to wait, so that there is no need to ask first.
  private var takesNowait = true

  /// - Parameters:
  ///   - fd: stays open for as long as this object is used, and is never closed by it.
  ///   - limit: the most bytes kept by `post`.
  public nonisolated init(_ fd: Int32, limit: Int) {
    let own = isatty(fd) == 1 ? open("/proc/self/fd/\(fd)", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC) : -1
    reopened = own >= 0 ? Descriptor(owning: own) : nil
    self.fd = own >= 0 ? own : fd
    self.limit = limit
  }

  /// Writes what can be written, keeps the rest up to the limit, drops what is beyond it.
  public func post(_ bytes: [UInt8]) {
    if keep(bytes) { flush() }
  }

  /// The same, but together with what else comes before the loop waits again: two system calls for all of it.
  public func gather(_ bytes: [UInt8]) {
    guard keep(bytes) else { return }
    if buffer.count >= Self.chunk { return flush() }
    // What waits for its reader is written when that reads.
    guard watch == nil, !isGathering else { return }
    isGathering = true
    Loop.beforeWait {
      self.isGathering = false
      self.flush()
    }
  }

  private func keep(_ bytes: [UInt8]) -> Bool {
    guard buffer.count + bytes.count <= limit else {
      droppedBytes += bytes.count
      return false
    }
    buffer += bytes
    return true
  }

  /// How many bytes given to `post` were dropped, once there is room again to say so; counts anew from then on.
  public func takeDroppedBytes() -> Int {
    guard buffer.isEmpty else { return 0 }
    defer { droppedBytes = 0 }
    return droppedBytes
  }

  /// Writes all of `bytes` and returns when they have been taken, or when nobody is left to take them.
  ///
  /// - Returns: whether somebody is.
  @discardableResult
  public func write(_ bytes: [UInt8]) async -> Bool {
    buffer += bytes
    flush()
    if !buffer.isEmpty { await drain() }
    return failure == nil
  }

  /// Returns when everything has been taken, or after `patience`.
  public func finish(within patience: Duration) async {
    flush()
    guard !buffer.isEmpty else { return }
    let timer = Timer(after: patience) { self.release() }
    await drain()
    timer.cancel()
  }

  private func drain() async {
    await withCheckedContinuation { continuation in
      // Asked again: a task that prefers no executor has left the loop and come back to it to get here.
      if buffer.isEmpty { continuation.resume() } else { drained.append(continuation) }
    }
  }

  /// Writes what can be written now.
  public func flush() {
    guard !buffer.isEmpty else { return }
    var offset = 0
    while offset < buffer.count, failure == nil {
      guard let count = writePiece(from: offset) else { break }
      if count >= 0 {
        offset += count
      } else if errno == EAGAIN {
        break
      } else if errno != EINTR {
        failure = SystemError("write", Errno(rawValue: errno))
      }
    }
    if failure != nil { buffer = [] } else { buffer.removeFirst(offset) }
    if buffer.isEmpty {
      watch?.close()
      watch = nil
      release()
    } else if watch == nil {
      // The registration itself tells of a state that changed since it was looked at.
      watch = try? Watch(fd, .write) { [weak self] _ in self?.flush() }
    }
  }

  /// Writes a piece, as write(2) does; nil where that would have to wait.
  private func writePiece(from offset: Int) -> Int? {
    buffer[offset...].withUnsafeBytes { rest in
      let count = min(rest.count, Self.chunk)
      if takesNowait {
        let written = agentd_write_nowait(fd, rest.baseAddress, count)
        if written >= 0 { return written }
        // A file may say so for want of memory or of a block on the disk, and a pipe that has room for less than all.
        if written == -Int(EOPNOTSUPP) { takesNowait = false }
      }
      return isWritable() ? Glibc.write(fd, rest.baseAddress, count) : nil
    }
  }

  private func isWritable() -> Bool {
    var query = pollfd(fd: fd, events: Int16(POLLOUT), revents: 0)
    return poll(&query, 1, 0) != 0
  }

  private func release() {
    let resumed = drained
    drained = []
    for continuation in resumed { continuation.resume() }
  }
}
