// A session's output on this terminal: its console.log, undone, byte for byte.

internal import Engine
internal import Glibc
internal import Reactor
internal import SystemPackage

/// Reads a console.log as it grows and writes what the session wrote to stdout and stderr.
@Loop
final class SessionOutput {
  /// Read from console.log at once.
  private static let chunk = 1 << 16

  private let path: String
  private let file: Descriptor
  private var watcher: FileWatcher?
  private var log = ConsoleLog()
  private let standardOutput = InheritedOutput(1, limit: .max)
  private let standardError = InheritedOutput(2, limit: .max)
  /// Whether stdout is the same screen as stderr, so that lines of agentd's own follow either.
  private let isOneTerminal = isatty(1) == 1 && isatty(2) == 1
  /// Whether what lines of agentd's own follow, the session's stderr, ended without a newline.
  private var isInMidLine = false

  /// Opens the log at `path`.
  init(_ path: String) throws(VerbFailure) {
    let raw = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard raw >= 0 else {
      throw VerbFailure(
        sentence:
          "The session's output cannot be shown: \(path) cannot be opened (\(Errno(rawValue: errno))).",
        code: 1)
    }
    self.path = path
    file = Descriptor(owning: raw)
  }

  /// Calls `handler` after each write to the log.
  func watch(_ handler: @escaping @Loop () -> Void) {
    do throws(SystemError) {
      let watcher = try FileWatcher()
      self.watcher = watcher
      _ = try watcher.watch(path, handler)
    } catch {
      Terminal.complain("The session's output is shown at its end, because it cannot be watched (\(error)).")
    }
  }

  /// Shows the next piece of the log; false at its present end.
  func showPiece() async -> Bool {
    let bytes = [UInt8](unsafeUninitializedCapacity: Self.chunk) { buffer, filled in
      filled = max(0, Glibc.read(file.raw, buffer.baseAddress, buffer.count))
    }
    for piece in log.decode(bytes) {
      switch piece.source {
      case .output: await standardOutput.write(piece.bytes)
      case .error: await standardError.write(piece.bytes)
      }
      if piece.source == .error || isOneTerminal, let last = piece.bytes.last {
        isInMidLine = last != UInt8(ascii: "\n")
      }
    }
    return !bytes.isEmpty
  }

  /// Shows what is there.
  func showRest() async {
    while standardOutput.failure == nil || standardError.failure == nil, await showPiece() {
      await Loop.yield()
    }
  }

  /// - Throws: when stdout takes no more, so that something is missing there. A reader that has gone needs no sentence.
  func requireTaken() throws(VerbFailure) {
    guard let failure = standardOutput.failure else { return }
    throw failure.errno == .brokenPipe
      ? VerbFailure(sentence: "", code: 128 + SIGPIPE)
      : VerbFailure(sentence: "The session's output was not taken to its end (\(failure)).", code: 1)
  }

  /// Ends a line that the session left open, before a line of agentd's own.
  func endLine() {
    if isInMidLine { Terminal.note("") }
    isInMidLine = false
  }

  /// Ends the watch.
  func close() {
    watcher?.close()
    watcher = nil
  }
}
