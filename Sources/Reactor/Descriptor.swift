// A file descriptor that is closed exactly once, by its owner.

internal import Glibc

/// Owns one file descriptor and closes it when it goes out of scope.
public struct Descriptor: ~Copyable, Sendable {
  /// The number, for a call that borrows it. It must not outlive this value.
  public let raw: Int32

  /// Takes over an open descriptor.
  public init(owning raw: Int32) {
    precondition(raw >= 0, "a descriptor number is never negative")
    self.raw = raw
  }

  /// Gives the descriptor away: whoever receives the number closes it.
  public consuming func release() -> Int32 {
    let raw = self.raw
    discard self
    return raw
  }

  deinit {
    // The kernel has freed the number even when close reports an error, EINTR included: never a second call.
    _ = Glibc.close(raw)
  }
}
