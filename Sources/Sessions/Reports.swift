// Who wants to know that a session's setup has reported something.

internal import Reactor

/// Watches the reports of all sessions by one watch of the directory that they are in: each would take two calls to be
/// watched by itself, and the kernel would tell of the end of each.
@Loop
final class Reports {
  private let watcher: FileWatcher
  private var directory: Int32?
  private var readers: [SessionID: @Loop () -> Void] = [:]

  /// Watches nothing yet.
  init() throws(SystemError) { watcher = try FileWatcher() }

  /// Watches the runtime directory, in the place of the one before it.
  ///
  /// - Returns: why it cannot be watched, as a clause; the reports are read at the ends of their sessions then.
  func watch(_ path: String) -> String? {
    if let directory { watcher.forget(directory) }
    directory = nil
    do throws(SystemError) {
      directory = try watcher.watchFiles(in: path) { [weak self] in self?.tell($0) }
      return nil
    } catch {
      // What the kernel says of it otherwise sounds like a full disk.
      let isLimit = error.errno == .noSpace
      return isLimit
        ? "\(error): this user watches as many files as fs.inotify.max_user_watches allows" : "\(error)"
    }
  }

  /// From now on calls `reader` after each write to a session's report, perhaps once for several.
  func begin(of session: SessionID, _ reader: @escaping @Loop () -> Void) { readers[session] = reader }

  /// Ends that.
  func end(of session: SessionID) { readers[session] = nil }

  /// Ends all of it.
  func close() {
    watcher.close()
    readers = [:]
  }

  private func tell(_ file: String?) {
    guard let file else {
      for reader in readers.values { reader() }
      return
    }
    if let session = PrivateDirectory.session(ofReport: file) { readers[session]?() }
  }
}
