// The repositories that sessions clone, served by git on a free port of loopback for as long as the process lives.

import Glibc

enum Repositories {
  private struct Server {
    let port: UInt16
    let program: Program
  }

  // Programs are not for more than one thread; the tests run one after the other.
  nonisolated(unsafe) private static let server = Result { try serve() }

  private static let base = "\(Ground.directory)/repositories"

  /// The URL of a repository: `plain`, `with-runa`, whose tree holds a `.runa`, or
  /// `empty`, which has no commit. Any other name is missing.
  static func url(_ name: String) throws -> String {
    return "git://127.0.0.1:\(try server.get().port)/\(name).git"
  }

  /// The commit that a clone checks out.
  static func head(_ name: String) throws -> String {
    _ = try server.get()
    return String(try git("-C", "\(base)/\(name).git", "rev-parse", "HEAD").prefix(40))
  }

  // The tests run one after the other.
  nonisolated(unsafe) private static var count = 0

  /// The URL of a new repository with branches, tags of both kinds, and a reference that is no clone's business.
  static func branched() throws -> String {
    count += 1
    let name = "branched-\(count)"
    let url = try url(name)
    try make(name, files: ["file": "one\n"])
    try git("-C", "\(base)/\(name)-seed", "branch", "side/way")
    try git("-C", "\(base)/\(name)-seed", "tag", "--annotate", "--message", "v1", "v1")
    try git("-C", "\(base)/\(name)-seed", "tag", "light")
    try git(
      "-C", "\(base)/\(name)-seed", "push", "--quiet", "\(base)/\(name).git", "side/way", "v1", "light",
      "main:refs/pull/1/head")
    return url
  }

  /// Commits to a repository that `branched` has made, and returns the commit.
  static func commit(to url: String) throws -> String {
    let name = url.split(separator: "/").last?.dropLast(".git".count) ?? ""
    let seed = "\(base)/\(name)-seed"
    try git("-C", seed, "commit", "--quiet", "--allow-empty", "--message", "More")
    try git("-C", seed, "push", "--quiet", "\(base)/\(name).git", "main")
    return String(try git("-C", seed, "rev-parse", "HEAD").prefix(40))
  }

  /// How often the server was asked for a repository.
  static func requests(for url: String) throws -> Int {
    let name = url.split(separator: "/").last ?? ""
    return try server.get().program.errors.lines.count { $0.contains("Request upload-pack for '/\(name)'") }
  }

  private static func serve() throws -> Server {
    try makeDirectory(base)
    try make("plain", files: ["README.md": "A repository for sessions.\n"])
    try git("init", "--quiet", "--bare", "--initial-branch=main", "\(base)/empty.git")
    try make("with-runa", files: ["README.md": "Holds .runa.\n", ".runa": "mine\n"])
    for _ in 0..<20 {
      let port = try freePort()
      let program = try Program(
        try Host.find("git"),
        [
          "daemon", "--verbose", "--export-all", "--reuseaddr", "--base-path=\(base)", "--listen=127.0.0.1",
          "--port=\(port)", base,
        ], environment: gitEnvironment, directory: Ground.tools, name: "git-daemon")
      // Another process may have taken the port meanwhile: git then ends, and the next one is tried.
      let ready = try? waitUntil(
        "the git daemon", files: [program.errors.path], alive: program, seen: { program.errors.tail }
      ) { program.errors.text.contains("Ready to rumble") ? true : nil }
      if ready == true { return Server(port: port, program: program) }
    }
    throw Failure("git daemon found no free port on 127.0.0.1")
  }

  private static func make(_ name: String, files: [String: String]) throws {
    let seed = "\(base)/\(name)-seed"
    try git("init", "--quiet", "--initial-branch=main", seed)
    for (file, text) in files { try writeFile("\(seed)/\(file)", text) }
    try git("-C", seed, "add", "--all")
    try git("-C", seed, "commit", "--quiet", "--message", "Begin")
    try git("clone", "--quiet", "--bare", seed, "\(base)/\(name).git")
  }

  static var gitEnvironment: [String: String] {
    return Host.environment.merging([
      "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1",
      "GIT_AUTHOR_NAME": "tests", "GIT_AUTHOR_EMAIL": "tests@localhost",
      "GIT_COMMITTER_NAME": "tests", "GIT_COMMITTER_EMAIL": "tests@localhost",
    ]) { $1 }
  }

  @discardableResult
  private static func git(_ arguments: String...) throws -> String {
    return try Host.run("git", arguments, environment: gitEnvironment)
  }
}

/// A TCP port of loopback that nobody listens on now.
func freePort() throws -> UInt16 {
  let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
  defer { close(descriptor) }
  var address = loopback(port: 0)
  var length = socklen_t(MemoryLayout<sockaddr_in>.size)
  let result = withUnsafeMutablePointer(to: &address) { pointer in
    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
    }
  }
  guard result else { throw Failure("no free port on 127.0.0.1: errno \(errno)") }
  return UInt16(bigEndian: address.sin_port)
}

/// 127.0.0.1 and a port.
func loopback(port: UInt16) -> sockaddr_in {
  return sockaddr_in(
    sin_family: sa_family_t(AF_INET), sin_port: port.bigEndian,
    sin_addr: in_addr(s_addr: UInt32(0x7f00_0001).bigEndian), sin_zero: (0, 0, 0, 0, 0, 0, 0, 0))
}
