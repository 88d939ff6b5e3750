// A file descriptor with one owner, which closes it once.

internal import Glibc

/// A file descriptor that is closed when its owner goes away.
public struct Descriptor: ~Copyable, Sendable {
  /// The number to hand to system calls; it stays owned by this value.
  public let raw: Int32

  /// Takes ownership of an open descriptor.
  public init(owning raw: Int32) {
    self.raw = raw
  }

  deinit {
    _ = close(raw)
  }

  /// Gives the descriptor away without closing it.
  public consuming func release() -> Int32 {
    let raw = raw
    discard self
    return raw
  }
}
