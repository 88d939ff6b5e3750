// Tells when somebody writes to a file, by inotify.

internal import CSupport
internal import SystemPackage

/// Watches any number of files through one inotify descriptor (the kernel allows few of those to a user).
@Loop
public final class FileWatcher {
  private enum Handler {
    case file(@Loop () -> Void)
    case directory(@Loop (String?) -> Void)
  }

  private var fd: Descriptor?
  private var watch: Watch?
  private var handlers: [Int32: Handler] = [:]

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
    try add(path, .file(handler))
  }

  /// Calls `handler` after each write to a file in the directory at `path`, perhaps once for several writes, with the
  /// file's name: for files that come and go, each of which would cost a watch of its own. With nil it is called when any
  /// of them may have been written to, because the kernel has lost count.
  ///
  /// - Returns: the number to give to `forget`.
  public func watchFiles(
    in path: String, _ handler: @escaping @Loop (String?) -> Void
  ) throws(SystemError) -> Int32 {
    try add(path, .directory(handler))
  }

  private func add(_ path: String, _ handler: Handler) throws(SystemError) -> Int32 {
    guard let raw = fd?.raw else { preconditionFailure("the watcher is closed") }
    let number = try SystemError.check("inotify_add_watch \(path)", agentd_inotify_add(raw, path))
    handlers[number] = handler
    return number
  }

  /// Ends the watch of one file or directory.
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
    withUnsafeTemporaryAllocation(
      byteCount: Int(AGENTD_INOTIFY_BUFFER), alignment: MemoryLayout<UInt>.alignment
    ) { buffer in
      var mayHoldMore = true
      while mayHoldMore, let raw = fd?.raw {
        let count = agentd_inotify_read(raw, buffer.baseAddress, UInt32(buffer.count), &mayHoldMore)
        guard count > 0 else { return }
        deliver(UnsafeRawBufferPointer(rebasing: buffer[..<Int(count)]))
      }
    }
  }

  private func deliver(_ events: UnsafeRawBufferPointer) {
    var rest = events[...]
    while !rest.isEmpty {
      var event = agentd_file_event()
      rest = rest.dropFirst(
        Int(agentd_inotify_event(UnsafeRawBufferPointer(rebasing: rest).baseAddress, &event)))
      if event.is_over { handlers[event.watch] = nil }
      guard event.watch >= 0 else {
        // The kernel dropped events: any file may have been written to.
        for handler in handlers.values {
          switch handler {
          case .file(let handler): handler()
          case .directory(let handler): handler(nil)
          }
        }
        continue
      }
      switch handlers[event.watch] {
      case .file(let handler): handler()
      // What happens to the directory itself has no name.
      case .directory(let handler): if let name = event.name { handler(String(cString: name)) }
      case nil: break
      }
    }
  }
}
