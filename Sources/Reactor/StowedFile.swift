// A file that is held without a descriptor of this process.

/// Keeps what is behind a descriptor in io_uring's own table. The open-files limit does not count it: a hard limit of
/// 20,000, which only a privileged process can raise, would else be the limit on what can be watched.
@Loop
final class StowedFile {
  let slot: Int32
  private var isClosed = false

  /// nil where nothing can be stowed: on epoll, before Linux 6.8, and when the table is full.
  ///
  /// - Parameter raw: a descriptor of it, which its owner may close then.
  init?(_ raw: Int32) {
    guard let slot = Loop.executor.stow(raw) else { return nil }
    self.slot = slot
  }

  /// A descriptor of it for a moment; nil when none is to be had.
  func reopen() -> Descriptor? { Loop.executor.reopen(slot).map { Descriptor(owning: $0) } }

  /// Lets it go. Its watch must have been closed.
  func close() {
    guard !isClosed else { return }
    isClosed = true
    Loop.executor.discard(slot)
  }

  isolated deinit { close() }
}
