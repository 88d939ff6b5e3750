// Finding records by their sessions' ids, whatever else lies in the audit root.

import Glibc
import TestSupport
import Testing
import Time

@testable import Audit

@Suite("RecordReading")
struct RecordReadingTests {
  private let id = "0123456789abcdef"

  @Test("a record is found by its id, of a profile that is configured or of one that is no more")
  func find() throws {
    let scratch = try Scratch()
    let record = try scratch.record(id)
    for profiles in [["site-builder"], ["other", "site-builder"], [], ["other"]] {
      #expect(try Record.find(session: id, auditRoot: scratch.auditRoot, profiles: profiles) == record)
    }
    #expect(try Record.find(session: "fedcba9876543210", auditRoot: scratch.auditRoot, profiles: []) == nil)
    #expect(try Record.find(session: id, auditRoot: "\(scratch.path)/nowhere", profiles: []) == nil)
  }

  @Test(
    "no id leads out of the audit root", arguments: ["..", ".", "", "../0123456789abcdef", "/etc", "a/b"])
  func hostile(_ name: String) throws {
    let scratch = try Scratch()
    _ = try scratch.record(id)
    #expect(mkdir("\(scratch.path)/0123456789abcdef", 0o700) == 0)
    #expect(try Record.find(session: name, auditRoot: scratch.auditRoot, profiles: ["site-builder"]) == nil)
  }

  @Test("links and files in the audit root hold no records")
  func strangers() throws {
    let scratch = try Scratch()
    let record = try scratch.record(id)
    #expect(rename("\(scratch.auditRoot)/site-builder", "\(scratch.path)/elsewhere") == 0)
    #expect(symlink("\(scratch.path)/elsewhere", "\(scratch.auditRoot)/site-builder") == 0)
    try write("", to: "\(scratch.auditRoot)/file")
    for profiles in [[], ["site-builder", "file"]] {
      #expect(try Record.find(session: id, auditRoot: scratch.auditRoot, profiles: profiles) == nil)
    }
    #expect(mkdir("\(scratch.auditRoot)/linked", 0o700) == 0)
    #expect(symlink("\(scratch.path)/elsewhere/\(id)", "\(scratch.auditRoot)/linked/\(id)") == 0)
    #expect(try Record.find(session: id, auditRoot: scratch.auditRoot, profiles: []) == nil)
    #expect(record.path.hasPrefix(scratch.auditRoot))
  }

  @Test("a directory that is closed to this user is told, unless another has the record")
  func closed() throws {
    let scratch = try Scratch()
    _ = try scratch.record(id)
    let root = scratch.auditRoot
    for (path, mode) in [(root, 0o755), ("\(root)/site-builder", 0)] as [(String, mode_t)] {
      chmod(path, mode)
    }
    #expect(throws: AuditError.system(call: "open", path: "\(root)/site-builder", code: EACCES)) {
      try asOrdinaryUser { _ in try Record.find(session: id, auditRoot: root, profiles: ["site-builder"]) }
    }
    for directory in ["\(root)/other", "\(root)/other/\(id)"] { #expect(mkdir(directory, 0o755) == 0) }
    let found = try asOrdinaryUser { _ in
      try Record.find(session: id, auditRoot: root, profiles: ["site-builder"])
    }
    #expect(found == Record(path: "\(root)/other/\(id)"))
  }

  @Test("what was written is read again")
  func metadata() throws {
    let scratch = try Scratch()
    let record = try scratch.record(id)
    #expect(try record.readMetadata() == .example(id))
    var metadata = Metadata.example(id)
    metadata.outcome = "timed_out"
    metadata.exitCode = 143
    metadata.phases = [.init(name: "seal", startTimestamp: metadata.startTimestamp)]
    try record.write(metadata.json(), mode: 0o600, in: record.openAgentd())
    #expect(try record.readMetadata() == metadata)
  }

  @Test("a session.json that agentd did not write is told, and never waited for")
  func strangeMetadata() throws {
    let scratch = try Scratch()
    let record = try scratch.record(id)
    let path = record.metadataPath
    for (content, reason) in [
      ("", "it is not what agentd writes"), ("[]", "it is not what agentd writes"),
      (String(repeating: " ", count: (1 << 20) + 1), "it is longer than 1048576 bytes"),
    ] {
      try write(content, to: path)
      #expect(throws: AuditError.unreadable(path: path, reason: reason)) { try record.readMetadata() }
    }
    #expect(unlink(path) == 0)
    #expect(throws: AuditError.system(call: "open", path: path, code: ENOENT)) { try record.readMetadata() }
    #expect(mkfifo(path, 0o600) == 0)
    #expect(throws: AuditError.unreadable(path: path, reason: "it is no file")) { try record.readMetadata() }
    #expect(unlink(path) == 0)
    #expect(symlink("/etc/passwd", path) == 0)
    #expect(throws: AuditError.system(call: "open", path: path, code: ELOOP)) { try record.readMetadata() }
  }
}
