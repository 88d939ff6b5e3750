// The registration of one descriptor with the loop.

/// Reports the edges of a descriptor to a handler, until it is closed.
///
/// It borrows the descriptor: the owner closes the watch first and the descriptor then.
@Loop
public final class Watch {
  private var token: UInt64?
  private var handler: (@Loop (Interest) -> Void)?

  /// - Parameters:
  ///   - fd: a descriptor that stays open until `close`.
  ///   - interest: which edges.
  ///   - handler: called on the loop with what became ready.
  public init(_ fd: Int32, _ interest: Interest, _ handler: @escaping @Loop (Interest) -> Void)
    throws(SystemError)
  {
    self.handler = handler
    token = try Loop.executor.register(self, .descriptor(fd), interest: interest)
  }

  /// The same for a file that was stowed, and stays so until `close`.
  init(_ file: StowedFile, _ interest: Interest, _ handler: @escaping @Loop (Interest) -> Void)
    throws(SystemError)
  {
    self.handler = handler
    token = try Loop.executor.register(self, .stowed(file.slot), interest: interest)
  }

  /// Ends the registration. No further edge is delivered, not even one that has been collected already.
  public func close() {
    guard let token else { return }
    Loop.executor.deregister(token)
    self.token = nil
    handler = nil
  }

  func deliver(_ ready: Interest) { handler?(ready) }

  isolated deinit {
    precondition(token == nil, "a watch is closed by its owner before it is let go")
  }
}
