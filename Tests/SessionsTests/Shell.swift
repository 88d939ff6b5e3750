// Runs a script under one of the shells an image may call /bin/sh, with a pipe as its descriptor 3.

import Foundation
import Glibc
import TestSupport

/// The shells whose behaviour the scripts are written for.
enum Shell: String, CaseIterable, Sendable {
  case dash
  case bashAsSh = "bash called sh"
  case posixBash = "bash --posix"
  case busyboxAsh = "busybox ash"

  /// The program and the words before `-c`. Each is called `sh` where an image would call it so.
  private var program: (paths: [String], words: [String]) {
    switch self {
    case .dash: (["/bin/dash", "/usr/bin/dash"], ["sh"])
    case .bashAsSh: (["/bin/bash", "/usr/bin/bash"], ["sh"])
    case .posixBash: (["/bin/bash", "/usr/bin/bash"], ["bash", "--posix"])
    case .busyboxAsh: (["/bin/busybox", "/usr/bin/busybox"], ["sh"])
    }
  }

  /// What a script left behind.
  struct Ended {
    /// The exit code, or minus the signal.
    var code: Int32
    var output: [UInt8]
    var errors: String

    /// What `cat /proc/self/environ` printed.
    var environment: [String: [UInt8]] {
      var variables: [String: [UInt8]] = [:]
      for variable in output.split(separator: 0) {
        guard let equals = variable.firstIndex(of: UInt8(ascii: "=")) else { continue }
        variables[String(decoding: variable[..<equals], as: UTF8.self)] = Array(variable[(equals + 1)...])
      }
      return variables
    }
  }

  /// What keeps a test from running a shell.
  struct CannotRun: Error {
    var reason: String
  }

  /// Runs `script` with `words` as `$0`, `$1` and so on, and `input` in the pipe behind descriptor 3.
  func run(
    _ script: String, _ words: [String], input: [UInt8] = [],
    environment: [String] = ["PATH=/usr/local/bin:/usr/bin:/bin"]
  ) throws -> Ended {
    guard let path = program.paths.first(where: { access($0, X_OK) == 0 }) else {
      throw CannotRun(reason: "this test needs \(program.paths[0]): install it")
    }
    // The child may end before it has read everything.
    signal(SIGPIPE, SIG_IGN)
    // A FIFO, as in a session; and no other test's child ever has an end of it, as it would of a pipe that
    // becomes close-on-exec only after it was made.
    let scratch = try Home()
    let fifo = "\(scratch.path)/envelope"
    mkfifo(fifo, 0o600)
    let readEnd = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
    let writeEnd = open(fifo, O_WRONLY | O_CLOEXEC)
    _ = fcntl(readEnd, F_SETFL, 0)
    let output = open("\(scratch.path)/output", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    let errors = open("\(scratch.path)/errors", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    defer { for descriptor in [output, errors] { close(descriptor) } }
    guard min(readEnd, writeEnd, output, errors) >= 0 else {
      throw CannotRun(reason: "\(scratch.path): errno \(errno)")
    }

    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, output, 1)
    posix_spawn_file_actions_adddup2(&actions, errors, 2)
    posix_spawn_file_actions_adddup2(&actions, readEnd, 3)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var defaults = sigset_t()
    sigfillset(&defaults)
    posix_spawnattr_setsigdefault(&attributes, &defaults)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF))

    var child: pid_t = 0
    let arguments = (program.words + ["-c", script] + words).map { strdup($0) } + [nil]
    let variables = environment.map { strdup($0) } + [nil]
    let failure = posix_spawn(&child, path, &actions, &attributes, arguments, variables)
    for word in arguments + variables { free(word) }
    close(readEnd)
    guard failure == 0 else {
      close(writeEnd)
      throw CannotRun(reason: "posix_spawn: errno \(failure)")
    }

    // In pieces, as the daemon will: an envelope may be larger than the pipe.
    var rest = input[...]
    while !rest.isEmpty {
      let written = rest.withUnsafeBytes { write(writeEnd, $0.baseAddress, min($0.count, 1000)) }
      if written > 0 { rest = rest.dropFirst(written) } else if errno != EINTR { break }
    }
    close(writeEnd)
    var status: Int32 = 0
    while waitpid(child, &status, 0) < 0 && errno == EINTR {}
    let code = status & 0x7f == 0 ? (status >> 8) & 0xff : -(status & 0x7f)
    return Ended(
      code: code, output: Self.contents(output),
      errors: String(decoding: Self.contents(errors), as: UTF8.self))
  }

  private static func contents(_ descriptor: Int32) -> [UInt8] {
    let size = Int(lseek(descriptor, 0, SEEK_END))
    return [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
      count = max(0, pread(descriptor, buffer.baseAddress, size, 0))
    }
  }
}

/// A directory that stands for a container's home, with what the setup's first steps leave in it.
///
/// The scripts say `/home/{profile}`; this "profile" leads from there to a temporary directory.
final class Home: Sendable {
  let path: String
  let profile: String

  init() throws {
    var template = Array("/tmp/agentd-setup-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw Shell.CannotRun(reason: "mkdtemp: errno \(errno)") }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    profile = ".." + path
  }

  /// Makes a directory below.
  func make(_ name: String) { mkdir("\(path)/\(name)", 0o755) }

  /// Writes a program below.
  func write(program name: String, _ text: String) throws {
    try writeProgram(text, to: "\(path)/\(name)")
  }

  /// Reads a file below.
  func read(_ name: String) -> String? {
    let descriptor = open("\(path)/\(name)", O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: 65_536)
    let count = Glibc.read(descriptor, &bytes, bytes.count)
    return String(decoding: bytes[..<max(0, count)], as: UTF8.self)
  }

  deinit {
    try? FileManager.default.removeItem(atPath: path)
  }
}
