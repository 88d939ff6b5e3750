// A stand-in for podman: a shell script in a test's own directory that writes down how it is called.

import Glibc
public import Reactor

/// A program that is called like podman and does what the test's script says.
@Loop
public final class StubPodman {
  /// Shell functions that a script can call.
  private static let prelude = """
    #!/bin/sh
    here=$(dirname "$0")
    # One line a call, appended in one write. With the newline in its format dash makes two of more than 8 kB, and the lines of
    # calls at the same time become one.
    line=$(printf '%s ' "$@" | tr '\\n' '~')
    printf %s "$line
    " >>"$here/calls"
    fail() { echo "Error: $2" >&2; exit "$1"; }
    digits=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
    verb=$1; shift

    """

  /// The directory with the script; `$here` in it.
  public let directory: String
  /// The script.
  public var executable: String { "\(directory)/podman" }

  /// Writes the script.
  ///
  /// - Parameters:
  ///   - directory: exists.
  ///   - body: shell, with podman's first word in `$verb` and the others in `$@`. `fail CODE WORDS` ends it like
  ///     podman would, `$here` is the directory, and `$digits` are 64 hex digits.
  public init(in directory: String, _ body: String) throws {
    self.directory = directory
    try writeProgram(Self.prelude + body, to: executable)
    try write("", to: "\(directory)/calls")
  }

  /// Takes over the script that another process has written into a directory.
  public init(existing directory: String) { self.directory = directory }

  /// How it was called, oldest first: the words of each call with blanks between, a newline in one as `~`.
  public func calls() throws -> [String] {
    try contents(of: "\(directory)/calls").split(separator: "\n").map { String($0.dropLast()) }
  }

  /// How it was called with a first word.
  public func calls(of verb: String) throws -> [String] {
    try calls().filter { $0.hasPrefix(verb + " ") }
  }

  /// Returns when a file of the directory, which exists, has at least so many lines.
  public func wait(for count: Int, linesIn name: String = "calls") async throws {
    let path = "\(directory)/\(name)"
    let watcher = try FileWatcher()
    defer { watcher.close() }
    while true {
      let changed = Latch()
      // Takes the place of the watch before.
      _ = try watcher.watch(path) { changed.open() }
      if try contents(of: path).split(separator: "\n").count >= count { return }
      await changed.wait()
    }
  }
}
