// The way to podman: a few processes at once, and no profile waits for another's that hangs.

internal import Reactor

/// Grants permits for podman processes.
@Loop
final class Gate {
  /// What waits in one line.
  enum Lane: Hashable, Sendable {
    /// The launches of a profile.
    case launches(profile: String)
    /// Questions about one thing: an image, a profile's container, all of the daemon's containers.
    case questions(about: String)
    /// Removals, of whatever profile: they share processes.
    case removals
    /// Calls in the user namespace. One may seal a large record.
    case unshare
  }

  /// A podman process's place. Given back once, when the process has gone.
  @Loop final class Permit {
    private var gate: Gate?
    private let ticket: Turns<Lane>.Ticket

    fileprivate init(_ gate: Gate, _ ticket: Turns<Lane>.Ticket) {
      self.gate = gate
      self.ticket = ticket
    }

    /// Lets the next one go. Giving it back again does nothing.
    func giveBack() {
      gate?.leave(ticket)
      gate = nil
    }
  }

  /// Slow ones for each permit. With as many as this, podman hangs in so many profiles at once that starting more of it
  /// helps nobody.
  private static let slowOnesPerPermit = 4

  private let patience: Duration
  private var turns: Turns<Lane>
  private var waiting: [Turns<Lane>.Ticket: UnsafeContinuation<Permit?, Never>] = [:]
  private var timers: [Turns<Lane>.Ticket: Timer] = [:]

  /// - Parameters:
  ///   - permits: how many processes at once, at least 1.
  ///   - patience: after how long a process counts as slow.
  init(permits: Int, patience: Duration) {
    turns = Turns(permits: permits, slowLimit: permits * Self.slowOnesPerPermit)
    self.patience = patience
  }

  /// Waits for a permit; nil when that was withdrawn meanwhile.
  func permit(in lane: Lane, unless withdrawal: Withdrawal? = nil) async -> Permit? {
    defer { withdrawal?.onRequest = nil }
    // Nothing before this: a task may have to wait for its turn on the loop to get here.
    return await withUnsafeContinuation { continuation in
      guard withdrawal?.isRequested != true else { return continuation.resume(returning: nil) }
      let ticket = turns.arrive(in: lane)
      waiting[ticket] = continuation
      withdrawal?.onRequest = { [weak self] in self?.withdraw(ticket) }
      advance()
    }
  }

  private func withdraw(_ ticket: Turns<Lane>.Ticket) {
    // One whose turn has come is told so already.
    guard let continuation = waiting.removeValue(forKey: ticket) else { return }
    leave(ticket)
    continuation.resume(returning: nil)
  }

  private func leave(_ ticket: Turns<Lane>.Ticket) {
    timers.removeValue(forKey: ticket)?.cancel()
    turns.leave(ticket)
    advance()
  }

  private func advance() {
    while let ticket = turns.next() {
      guard let continuation = waiting.removeValue(forKey: ticket) else {
        preconditionFailure("who waits for a permit is there to take it")
      }
      timers[ticket] = Timer(after: patience) { [weak self] in self?.overstay(ticket) }
      continuation.resume(returning: Permit(self, ticket))
    }
  }

  private func overstay(_ ticket: Turns<Lane>.Ticket) {
    timers[ticket] = nil
    turns.overstay(ticket)
    advance()
  }
}
