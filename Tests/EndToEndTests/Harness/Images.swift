// Images that lack something or hold something more, each removed when its test ends.

import Glibc

/// Makes an image from the base image by a script that runs in it as root.
func withDerivedImage(_ script: String, _ body: (String) throws -> Void) throws {
  let name = "localhost/agentd-e2e-derived:\(getpid())"
  let container = "agentd-e2e-derive-\(getpid())"
  try Host.podman("run", "--name", container, "--pull=never", try Host.image(), "/bin/sh", "-ec", script)
  defer { _ = try? Host.podman("rm", "--force", "--volumes", container) }
  try Host.podman("commit", "--quiet", container, name)
  defer { _ = try? Host.podman("rmi", "--force", name) }
  try body(name)
}

/// Makes an image from nothing but these files, by path. All are executable.
func withImage(of files: [String: String], _ body: (String) throws -> Void) throws {
  let name = "localhost/agentd-e2e-bare:\(getpid())"
  let tree = "\(Ground.directory)/image"
  defer { _ = try? Host.removeTree(tree) }
  try makeDirectory(tree)
  for (path, text) in files {
    let parent = path[..<(path.lastIndex(of: "/") ?? path.startIndex)]
    try Host.run("mkdir", ["-p", "\(tree)/root\(parent)"])
    try writeFile("\(tree)/root\(path)", text, mode: 0o755)
  }
  try Host.run("tar", ["-cf", "\(tree)/image.tar", "-C", "\(tree)/root", "."])
  try Host.podman("import", "--quiet", "\(tree)/image.tar", name)
  defer { _ = try? Host.podman("rmi", "--force", name) }
  try body(name)
}

/// Lets everybody read a file, whatever it was made with.
func chmodForAll(_ path: String) { chmod(path, 0o644) }
