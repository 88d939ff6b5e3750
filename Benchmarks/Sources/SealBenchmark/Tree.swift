// The tree that is sealed: what a session may leave behind.

import BenchmarkSupport
import Glibc

/// Directories of small files.
struct Tree {
  static let filesPerDirectory = 100

  let path: String

  /// Fills a directory that is there with so many files, as an ordinary program leaves them.
  func fill(files: Int) throws {
    umask(0o022)
    for directory in 0..<((files + Self.filesPerDirectory - 1) / Self.filesPerDirectory) {
      // Two levels, so that directories are among the entries of directories.
      let parent = "\(path)/\(directory / 100)"
      if directory % 100 == 0 { try checked("mkdir \(parent)", mkdir(parent, 0o777)) }
      let directoryPath = "\(parent)/\(directory % 100)"
      try checked("mkdir \(directoryPath)", mkdir(directoryPath, 0o777))
      for file in 0..<min(Self.filesPerDirectory, files - directory * Self.filesPerDirectory) {
        let made = try checked(
          "open", open("\(directoryPath)/file-\(file).txt", O_WRONLY | O_CREAT | O_CLOEXEC, 0o666))
        close(made)
      }
    }
  }

  /// What `chmod -R` used.
  struct Cost {
    /// In nanoseconds.
    var wall: Int64
    /// Of a processor, in nanoseconds.
    var processor: Int64
  }

  /// Runs `chmod -R MODE` and returns what it cost.
  @discardableResult
  func chmod(_ mode: String) throws -> Cost {
    let start = now()
    let status = try spawned(["/bin/chmod", "-R", mode, path])
    let wall = now() - start
    guard status.code == 0 else { throw Unexpected("chmod ended with \(status.code)") }
    return Cost(wall: wall, processor: status.processor)
  }
}

/// Something that must not be.
struct Unexpected: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// Runs a program to its end; its exit code, and what it used of a processor in nanoseconds.
func spawned(_ words: [String]) throws -> (code: Int32, processor: Int64) {
  var pid: pid_t = 0
  var arguments = words.map { strdup($0) } + [nil]
  defer { for argument in arguments { free(argument) } }
  let result = posix_spawn(&pid, words[0], nil, nil, &arguments, environ)
  guard result == 0 else {
    throw Unexpected("\(words[0]) does not start: \(String(cString: strerror(result)))")
  }
  var status: Int32 = 0
  var usage = rusage()
  try checked("wait4", wait4(pid, &status, 0, &usage))
  let microseconds =
    (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1_000_000
    + Int(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec)
  return (status & 0x7f == 0 ? status >> 8 & 0xff : -1, Int64(microseconds) * 1000)
}
