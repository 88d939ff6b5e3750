// A subprocess whose output goes to files, so that a test can read it while it runs.

import CSupport
import Glibc
import Reactor

/// A running program: signalled through its pidfd, reaped once, killed when the test lets it go.
final class Program {
  /// What it is called in failures.
  let name: String
  let pid: Int32
  let output: OutputFile
  let errors: OutputFile
  private(set) var pidfd: Int32
  private(set) var status: ExitStatus?

  /// Starts it with stdin from /dev/null, and its streams in new files of `directory`.
  init(
    _ executable: String, _ arguments: [String], environment: [String: String] = Host.environment,
    directory: String, name: String
  ) throws {
    self.name = name
    output = try OutputFile(in: directory, name: "\(name).out")
    errors = try OutputFile(in: directory, name: "\(name).err")
    let outputs = [output.path, errors.path].map { (path: String) in
      open(path, O_WRONLY | O_APPEND | O_CLOEXEC)
    }
    defer { for descriptor in outputs { close(descriptor) } }
    guard outputs.allSatisfy({ $0 >= 0 }) else {
      throw Failure("\(output.path) or \(errors.path) cannot be opened")
    }
    var pid: Int32 = 0
    var pidfd: Int32 = -1
    let result = withCStrings([executable] + arguments) { words in
      withCStrings(environment.map { "\($0)=\($1)" }) { variables in
        agentd_spawn(executable, words, variables, [-1] + outputs, &pid, &pidfd)
      }
    }
    guard result == 0 else { throw Failure("\(executable) does not start: errno \(-result)") }
    self.pid = pid
    self.pidfd = pidfd
    Ground.register(pid)
  }

  deinit {
    kill()
    close(pidfd)
  }

  /// Whether it has ended.
  var hasEnded: Bool {
    guard status == nil else { return true }
    var waitStatus: Int32 = 0
    guard agentd_reap(pidfd, &waitStatus) == 1 else { return false }
    Ground.forget(pid)
    status = ExitStatus(waitStatus: waitStatus)
    return true
  }

  /// Waits for its end.
  @discardableResult
  func wait(within bound: Duration = patience) throws -> ExitStatus {
    return try waitUntil(
      "the end of \(name)", ended: [self], within: bound,
      seen: { "stdout: \(self.output.tail)\nstderr: \(self.errors.tail)" }
    ) { hasEnded ? status : nil }
  }

  /// Waits until its stdout holds `text`.
  func waitForOutput(_ text: String) throws { try wait(for: text, in: output) }

  /// Waits until its stderr holds `text`.
  func waitForErrors(_ text: String) throws { try wait(for: text, in: errors) }

  /// Waits until its stdout is so many bytes long.
  func waitForOutput(bytes count: Int) throws {
    try waitUntil(
      "\(count) bytes from \(name)", files: [output.path], alive: self,
      seen: { "\(self.output.size) bytes, stderr: \(self.errors.tail)" }
    ) { output.size >= count ? () : nil }
  }

  private func wait(for text: String, in file: OutputFile) throws {
    try waitUntil(
      "\"\(text)\" from \(name)", files: [file.path], alive: self,
      seen: { "stdout: \(self.output.tail)\nstderr: \(self.errors.tail)" }
    ) { file.text.contains(text) ? () : nil }
  }

  func signal(_ number: Int32) {
    guard !hasEnded else { return }
    _ = agentd_pidfd_signal(pidfd, number)
  }

  /// Kills it and its process group, and reaps it.
  func kill() {
    guard !hasEnded else { return }
    // The number is its own until it is reaped, which only this class does.
    Glibc.kill(-pid, SIGKILL)
    _ = try? wait()
  }

  /// Removes the files of its output.
  func discardOutput() {
    unlink(output.path)
    unlink(errors.path)
  }
}

/// A file that a program writes.
struct OutputFile {
  let path: String

  init(in directory: String, name: String) throws {
    // Programs of one name follow one another.
    for number in 0..<100_000 {
      let path = "\(directory)/\(number)-\(name)"
      let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
      if descriptor >= 0 {
        close(descriptor)
        self.path = path
        return
      }
      guard errno == EEXIST else { throw Failure("\(path) cannot be made: errno \(errno)") }
    }
    throw Failure("\(directory) is full of files named \(name)")
  }

  /// Its length in bytes.
  var size: Int { status(of: path).map { Int($0.st_size) } ?? 0 }
  var bytes: [UInt8] { readFile(path) ?? [] }
  var text: String { String(decoding: bytes, as: UTF8.self) }
  var lines: [Substring] { text.split(separator: "\n") }

  /// The last part, for a failure.
  var tail: String { String(text.suffix(2000)) }
}
