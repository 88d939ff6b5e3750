// The waiting until a session's record is on the disk, which goes on while podman starts its container.

internal import Reactor

/// Ends once, with the record on the disk or a reason why it is not.
@Loop
final class Synchronization {
  private let ended = Latch()
  /// Why it could not be done; nil as long as it is under way.
  private(set) var failure: String?

  /// One that is under way.
  init() {}

  /// One that has ended well: the same for all, because thousands of sessions may live.
  static let done: Synchronization = {
    let synchronization = Synchronization()
    synchronization.end(nil)
    return synchronization
  }()

  /// Whether the record is on the disk.
  var isOnDisk: Bool { ended.isOpen && failure == nil }

  /// To be called once.
  ///
  /// - Parameter failure: why it could not be done.
  func end(_ failure: String?) {
    self.failure = failure
    ended.open()
  }

  /// Returns when it has ended.
  ///
  /// - Returns: why it could not be done.
  func problem() async -> String? {
    await ended.wait()
    return failure
  }
}
