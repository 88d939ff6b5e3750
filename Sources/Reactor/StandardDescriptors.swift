// stdin, stdout and stderr of the process itself.

internal import Glibc

/// The three descriptors that every program expects to be open.
public enum StandardDescriptors {
  /// Opens /dev/null for those that are closed: the next file to be opened would take their numbers, and then be
  /// written to as if it were the terminal.
  public static func open() {
    var fd: Int32
    repeat { fd = Glibc.open("/dev/null", O_RDWR) } while (0...2).contains(fd)
    if fd > 2 { _ = Glibc.close(fd) }
  }
}
