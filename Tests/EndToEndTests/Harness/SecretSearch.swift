// Looks for words everywhere that a secret could leak to on this machine.

import Glibc

/// A search for words that only a secret holds. Where processes and podman are searched, the session is to be
/// alive.
struct SecretSearch {
  let words: [String]

  /// Where each word was found, as `WORD in PLACE`.
  func places(_ daemon: Daemon) throws -> [String] {
    var found = processes() + inText(daemon.program?.errors.text ?? "", place: "the daemon's log")
    for container in try daemon.containers() {
      found += inText(try Host.podman("inspect", container), place: "podman inspect")
      found += inText(try Host.podman("logs", container), place: "podman logs")
    }
    return found + (try trees(daemon))
  }

  /// The environments of a live container's processes, as the host's root sees them, or the user's that is root inside:
  /// to the container's own root they are closed. (An `exec` would leave its words in podman's database, too.)
  func environments(in container: String) throws -> String {
    let pids = try Host.podman("top", container, "hpid").split(separator: "\n").dropFirst()
    let files = pids.map { "/proc/\($0.filter(\.isNumber))/environ" }
    return try privileged(["cat"] + files).replacing("\0", with: "\n")
  }

  /// Command lines of all processes, and the environments of podman's own.
  private func processes() -> [String] {
    let engine: Set<String> = ["podman", "conmon", "catatonit", "runc", "crun", "fuse-overlayfs"]
    return entries(of: "/proc").filter { Int32($0) != nil }.flatMap { pid -> [String] in
      var found = inText(readText("/proc/\(pid)/cmdline"), place: "a command line")
      if let name = ProcessStatus(pid: pid)?.name, engine.contains(name) {
        found += inText(readText("/proc/\(pid)/environ"), place: "the environment of \(name)")
      }
      return found
    }
  }

  private func inText(_ text: String, place: String) -> [String] {
    return words.filter { text.contains($0) }.map { "\($0) in \(place)" }
  }

  /// The records, the runtime directory, podman's state, and what the containers have written to their layers.
  /// Image layers are left out: they are older than the session.
  private func trees(_ daemon: Daemon) throws -> [String] {
    let store = try Host.podman("info", "--format", "{{.Store.GraphRoot}}\n{{.Store.RunRoot}}")
      .split(separator: "\n").map(String.init)
    var trees = [("the record", "\(daemon.home)/audit"), ("the runtime directory", daemon.runtimeDirectory)]
    for root in store {
      trees += entries(of: root).filter { $0 != "overlay" && $0 != "vfs" }.map {
        ("podman's store", "\(root)/\($0)")
      }
    }
    for container in try daemon.containers() {
      let layer = try Host.podman(
        "inspect", "--format", "{{index .GraphDriver.Data \"UpperDir\"}}", container)
      trees.append(("the container's layer", String(layer.prefix { $0 != "\n" })))
    }
    // The words go by a file, so that the search does not find itself among the processes.
    let pattern = "\(daemon.home)/words"
    try writeFile(pattern, words.joined(separator: "\n") + "\n", mode: 0o644)
    return try trees.flatMap { name, path in try grep(pattern, path).map { "\($0) in \(name)" } }
  }

  /// The words that occur in the regular files below a path. A FIFO is never opened: reading would take from it.
  private func grep(_ pattern: String, _ path: String) throws -> [String] {
    guard status(of: path) != nil else { return [] }
    let script = """
      find "$2" -xdev -type f -size -64M -exec grep -ohaF -f "$1" -- {} + 2>"$1.errors" | sort -u
      ! grep -v 'No such file' "$1.errors" >&2
      """
    return try privileged(["sh", "-c", script, "sh", pattern, path]).split(separator: "\n").map(String.init)
  }

  /// What a command prints that may read all that belongs to this user's containers.
  private func privileged(_ words: [String]) throws -> String {
    return geteuid() == 0
      ? try Host.run(words[0], Array(words.dropFirst())) : try Host.run("podman", ["unshare"] + words)
  }
}
