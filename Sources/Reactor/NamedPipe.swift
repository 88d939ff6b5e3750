// Looking into a FIFO that this process does not have open.

internal import CSupport
internal import Glibc

/// A FIFO by its path.
public enum NamedPipe {
  /// How many bytes in the FIFO wait to be read: none when nobody has it open, because what is in it goes with the last
  /// who had. nil when it cannot be told. Whoever waits in open(2) for a writer is let through by this, and then finds
  /// the end.
  public static func unreadBytes(at path: String) -> Int? {
    let raw = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW)
    guard raw >= 0 else { return errno == ENXIO ? 0 : nil }
    let pipe = Descriptor(owning: raw)
    let unread = agentd_pipe_unread(pipe.raw)
    return unread >= 0 ? Int(unread) : nil
  }
}
