// A `podman` that notes how it was called before it becomes the real one.

import Glibc
import func TestSupport.writeProgram

/// Puts itself first on the PATH of a daemon that has not started yet.
struct PodmanCalls {
  private let directory: String

  init(in daemon: Daemon) throws {
    directory = "\(daemon.home)/bin"
    try makeDirectory(directory)
    let real = try Host.find("podman")
    // One write to a file that is opened for appending: lines of several processes do not mix.
    try writeProgram(
      """
      #!/bin/sh
      printf '%s\\n' "$1" >>"\(directory)/calls"
      tr '\\0' '\\n' </proc/self/environ >>"\(directory)/environments"
      exec "\(real)" "$@"

      """, to: "\(directory)/podman")
    daemon.prependToPath(directory)
  }

  /// The verbs of all calls so far, in order.
  func verbs() -> [String] { readText("\(directory)/calls").split(separator: "\n").map(String.init) }

  /// The environments of all calls so far.
  func environments() -> String { readText("\(directory)/environments") }
}
