// A directory of a test's own, removed with everything in it, however closed it was left.

import Audit
import FoundationEssentials
import Glibc
import Reactor
import TestSupport
import Time

final class Scratch: Sendable {
  let path: String

  init() throws {
    var template = Array("\(FileManager.default.temporaryDirectory.path)/agentd-audit-XXXXXX".utf8CString)
    guard let made = mkdtemp(&template) else { throw Failure(call: "mkdtemp", code: errno) }
    // Other users pass, for the tests that act as one; they see nothing that this test did not open to them.
    chmod(made, 0o711)
    path = String(cString: made)
  }

  deinit {
    removeTree(path)
  }

  var auditRoot: String { return "\(path)/audit" }

  /// A new record with nothing in it.
  func record(_ sessionID: String = "0123456789abcdef") throws -> Record {
    return try Record.create(auditRoot: auditRoot, metadata: .example(sessionID))
  }

  /// A file outside of any record, with a mode that no umask gives.
  func outside(_ name: String = "outside") throws -> String {
    try write("outside", to: "\(path)/\(name)", mode: 0o640)
    return "\(path)/\(name)"
  }

  /// How many descriptors of this process lead into this directory.
  func openDescriptors() throws -> Int {
    return try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count {
      let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)")
      return target?.hasPrefix(path) ?? false
    }
  }
}

struct Failure: Error {
  let call: String
  let code: Int32
}

extension Metadata {
  static func example(
    _ sessionID: String = "0123456789abcdef", daemonID: String? = nil, workUnit: String? = nil
  ) -> Metadata {
    return Metadata(
      sessionID: sessionID, daemonID: daemonID, profile: "site-builder",
      repoURL: "https://example.org/team/site.git",
      workUnit: workUnit,
      startTimestamp: Timestamp(nanosecondsSinceEpoch: 1_795_406_706_789_000_000), image: "localhost/base:1")
  }
}

func check(_ name: String, _ result: Int32) throws {
  if result < 0 { throw Failure(call: name, code: errno) }
}

func write(_ text: String, to path: String, mode: mode_t = 0o644) throws {
  let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
  try check("open", file)
  defer { close(file) }
  let bytes = Array(text.utf8)
  try check("write", Int32(Glibc.write(file, bytes, bytes.count)))
  try check("fchmod", fchmod(file, mode))
}

func read(_ path: String) throws -> String {
  return try contents(of: path)
}

func makeDirectory(_ path: String, mode: mode_t = 0o755) throws {
  try check("mkdir", mkdir(path, 0o700))
  try check("chmod", chmod(path, mode))
}

/// The permission bits of what is at a path itself, or nil when nothing is there.
func mode(_ path: String) -> mode_t? {
  var status = stat()
  return lstat(path, &status) == 0 ? status.st_mode & 0o7777 : nil
}

func names(in path: String) throws -> [String] {
  return try FileManager.default.contentsOfDirectory(atPath: path).sorted()
}

private func removeTree(_ path: String) {
  var status = stat()
  if lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR {
    chmod(path, 0o700)
    for name in (try? names(in: path)) ?? [] { removeTree("\(path)/\(name)") }
    rmdir(path)
  } else {
    unlink(path)
  }
}
