// Where a test may have the daemon killed: between any two steps of a session. Debug builds only.

#if DEBUG
  internal import Glibc
  internal import Reactor
#endif

/// A point between two steps of a session's life, in their order; but a record may be sealed before its container is removed.
///
/// In a debug build, AGENTD_TEST_KILL_AT=STEP makes the daemon kill itself when the first session comes to it;
/// `mid-launch+40` kills it 40 ms after podman was started.
public enum Checkpoint: String, Sendable, CaseIterable {
  /// The request was validated, nothing was made.
  case intake
  /// Record and private directory are made, of a session that begins at once.
  case prepared
  /// Record and private directory are made, of one that waits for its turn.
  case queued
  /// The facts say that it has left the queue.
  case dequeued
  /// What it is to clone was fetched and lies ready for it; where there is no mirror, only the image was found.
  case fetched
  /// podman is about to be asked for its container.
  case launching
  /// podman was started and has not returned.
  case midLaunch = "mid-launch"
  /// The container runs and nobody watches it.
  case launched
  /// A pidfd is held on the container's init.
  case watched
  /// The facts say that it was released, and nothing was written into its FIFO.
  case releasedFacts = "released-facts"
  /// The envelope was written.
  case released
  /// The setup has come to the command.
  case command
  /// The container has ended, and the facts do not say so.
  case exited
  /// The facts say how it ended.
  case ended
  /// The container is removed.
  case removed
  /// The record is read-only but for its metadata.
  case sealed
  /// The record is complete.
  case published
  /// The private directory is removed.
  case directoryRemoved = "directory-removed"
  /// The client was told.
  case answered

  /// Ends the process here if a test asked for that.
  @inlinable
  public func pass() {
    #if DEBUG
      reach()
    #endif
  }

  #if DEBUG
    private static let wish: (step: String, delay: Duration)? = {
      guard let wish = getenv("AGENTD_TEST_KILL_AT").map({ String(cString: $0) }) else { return nil }
      let parts = wish.split(separator: "+")
      return parts.first.map { (String($0), .milliseconds(parts.dropFirst().first.flatMap { Int($0) } ?? 0)) }
    }()

    @usableFromInline func reach() {
      guard let wish = Self.wish, wish.step == rawValue else { return }
      guard wish.delay > .zero else {
        kill(getpid(), SIGKILL)
        return
      }
      Loop.spawn {
        await Timer.sleep(wish.delay)
        kill(getpid(), SIGKILL)
      }
    }
  #endif
}
