// Tells when somebody writes to a file, by inotify.

internal import CSupport
internal import SystemPackage

/// Watches any number of files through one inotify descriptor (the kernel allows few of those to a user).
@Loop
public final class FileWatcher {
  /// Events taken from the kernel in one read.
  private static let batchCapacity = 128

  private var fd: Descriptor?
  private var watch: Watch?
  private var handlers: [Int32: @Loop () -> Void] = [:]

  /// - Throws: `SystemError`; EMFILE when the user has too many inotify descriptors already.
  public init() throws(SystemError) {
    let raw = try SystemError.check("inotify_init", agentd_inotify())
    fd = Descriptor(owning: raw)
    watch = try Watch(raw, .read) { [weak self] _ in self?.deliver() }
  }

  /// Calls `handler` after each write to the file at `path`, perhaps once for several writes. A file is watched once
  /// at a time.
  ///
  /// - Returns: the number to give to `forget`.
  public func watch(_ path: String, _ handler: @escaping @Loop () -> Void) throws(SystemError) -> Int32 {
    guard let raw = fd?.raw else { preconditionFailure("the watcher is closed") }
    let number = try SystemError.check("inotify_add_watch \(path)", agentd_inotify_add(raw, path))
    handlers[number] = handler
    return number
  }

  /// Ends the watch of one file.
  public func forget(_ number: Int32) {
    guard handlers.removeValue(forKey: number) != nil, let raw = fd?.raw else { return }
    // Fails when the file has gone, which ended the watch as well.
    _ = agentd_inotify_remove(raw, number)
  }

  /// Ends all watches.
  public func close() {
    watch?.close()
    watch = nil
    fd = nil
    handlers = [:]
  }

  isolated deinit { close() }

  private func deliver() {
    withUnsafeTemporaryAllocation(of: Int32.self, capacity: Self.batchCapacity) { numbers in
      var mayHoldMore = true
      while mayHoldMore, let raw = fd?.raw {
        let count = agentd_inotify_read(raw, numbers.baseAddress, UInt32(numbers.count), &mayHoldMore)
        guard count >= 0 else { return }
        var told = numbers[..<Int(count)]
        told.sort()
        var last: Int32?
        for number in told where number != last {
          last = number
          if number >= 0 {
            handlers[number]?()
          } else {
            // The kernel dropped events: any file may have been written to.
            for handler in handlers.values { handler() }
          }
        }
      }
    }
  }
}
