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

  /// The same, and the file behind the descriptor is closed as soon as that is. Otherwise io_uring may keep it open until
  /// the jobs that are ready now have run: a listener would go on taking connections, whose number is all that
  /// outsiders see of the difference.
  func closeAtOnce() {
    guard token != nil else { return }
    close()
    Loop.executor.settle()
  }

  /// Asks for one more report of a registration that was made for `once`. What has become ready since the last one is
  /// reported.
  func rearm() {
    if let token { Loop.executor.rearm(token) }
  }

  private func deliver(_ ready: Interest) { handler?(ready) }

  /// Delivers an event, for the executor, which is on the loop without the compiler knowing. Made once: what is made for
  /// each event takes as long as its delivery.
  nonisolated static let delivery: @Sendable (Watch, Interest) -> Void = {
    typealias Plain = @Sendable (Watch, Interest) -> Void
    let isolated: @Loop @Sendable (Watch, Interest) -> Void = { $0.deliver($1) }
    // The change of type that `Loop.assumeIsolated` makes.
    return unsafeBitCast(isolated, to: Plain.self)
  }()

  isolated deinit {
    precondition(token == nil, "a watch is closed by its owner before it is let go")
  }
}
