// Holds a session's command until the test lets it go on.

import Glibc

/// A FIFO in a directory of its own, to be mounted at /gate. The test holds both ends, so neither side has to
/// come first: a command that reads `/gate/gate` waits until a line was written.
final class Gate {
  let directory: String
  private let descriptor: Int32

  init() throws {
    Gate.count += 1
    directory = "\(Ground.directory)/gate-\(Gate.count)"
    try makeDirectory(directory, mode: 0o777)
    let path = "\(directory)/gate"
    guard mkfifo(path, 0o666) == 0, chmod(path, 0o666) == 0 else { throw Failure("mkfifo: errno \(errno)") }
    descriptor = Glibc.open(path, O_RDWR | O_CLOEXEC)
    guard descriptor >= 0 else { throw Failure("\(path) cannot be opened: errno \(errno)") }
  }

  deinit {
    close(descriptor)
    unlink("\(directory)/gate")
    rmdir(directory)
  }

  /// Lets one reader go on.
  func open(_ word: String = "go") {
    let line = Array("\(word)\n".utf8)
    _ = write(descriptor, line, line.count)
  }

  // The tests run one after the other.
  nonisolated(unsafe) private static var count = 0
}
