// How somebody says that what it has asked podman for is not wanted any more.

public import Reactor

/// A request that may be taken back, once, while it waits for its turn or is being carried out.
@Loop
public final class Withdrawal {
  /// Whether it was taken back.
  public private(set) var isRequested = false
  /// What is to be done then, while there is something to be done.
  var onRequest: (@Loop () -> Void)?

  /// Of a request that stands.
  public init() {}

  /// Takes the request back. Doing so again does nothing.
  public func request() {
    guard !isRequested else { return }
    isRequested = true
    onRequest?()
  }
}
