// Records made by way of directories that are kept open: as if each had been opened for it.

import FoundationEssentials
import Glibc
import TestSupport
import Testing

@testable import Audit

@Suite("Open profiles")
struct OpenProfilesTests {
  private func expectWhole(_ record: Record, _ scratch: Scratch, _ session: String) throws {
    #expect(record.path == "\(scratch.auditRoot)/site-builder/\(session)")
    for directory in ["\(scratch.auditRoot)/site-builder", record.path, "\(record.path)/agentd"] {
      #expect(mode(directory) == 0o700)
    }
    #expect(mode(record.runaPath) == 0o777)
    #expect(mode(record.consoleLogPath) == 0o600)
    #expect(mode(record.metadataPath) == 0o600)
    #expect(try names(in: "\(record.path)/agentd") == ["console.log", "session.json"])
    #expect(
      try read(record.metadataPath) == String(decoding: Metadata.example(session).json(), as: UTF8.self))
    #expect(record.standing == .open)
  }

  @Test("records are whole and their modes exact under any umask", arguments: [0o000, 0o022, 0o077, 0o777])
  func umasks(mask: mode_t) throws {
    let scratch = try Scratch()
    try withUmask(mask) {
      let profiles = OpenProfiles(auditRoot: scratch.auditRoot)
      #expect(profiles.givesModes == (mask != 0o777))
      for session in ["1", "2"] {
        try expectWhole(try Record.make(in: profiles, metadata: .example(session)).record, scratch, session)
      }
    }
    #expect(try scratch.openDescriptors() == 0)
  }

  @Test("a record is made where its path says, whatever became of the directory that was open")
  func moved() throws {
    let scratch = try Scratch()
    let profiles = OpenProfiles(auditRoot: scratch.auditRoot)
    let path = "\(scratch.auditRoot)/site-builder"
    func make(_ session: String) throws {
      try expectWhole(try Record.make(in: profiles, metadata: .example(session)).record, scratch, session)
    }
    try make("1")
    try check("rename", rename(path, "\(scratch.path)/aside"))
    try make("2")
    #expect(try names(in: "\(scratch.path)/aside") == ["1"])
    // Opened to others by hand: closed again.
    try check("chmod", chmod(path, 0o755))
    try make("3")
    Record(path: "\(path)/2").discard()
    Record(path: "\(path)/3").discard()
    try check("rmdir", rmdir(path))
    try make("4")
    try check("rename", rename(path, "\(scratch.path)/elsewhere"))
    try check("symlink", symlink("\(scratch.path)/elsewhere", path))
    #expect(throws: AuditError.system(call: "open", path: path, code: ENOTDIR)) { try make("5") }
    #expect(try names(in: "\(scratch.path)/elsewhere") == ["4"])
  }

  @Test("what is synchronized is the record, whatever became of the directory that was open")
  func synchronize() throws {
    let scratch = try Scratch()
    let profiles = OpenProfiles(auditRoot: scratch.auditRoot)
    let path = "\(scratch.auditRoot)/site-builder"
    let record = try Record.make(in: profiles, metadata: .example("1")).record
    let descriptors = try scratch.openDescriptors()
    for _ in 0..<2 { try record.synchronize(in: profiles) }
    // Another daemon's, say, of a profile that this one has opened nothing for.
    try record.synchronize(in: OpenProfiles(auditRoot: scratch.auditRoot))
    try check("rename", rename(path, "\(scratch.path)/aside"))
    let other = try Record.create(auditRoot: scratch.auditRoot, metadata: .example("2"))
    try other.synchronize(in: profiles)
    other.discard()
    let missing = AuditError.system(call: "open", path: other.path, code: ENOENT)
    #expect(throws: missing) { try other.synchronize(in: profiles) }
    #expect(try scratch.openDescriptors() == descriptors)
  }

  @Test("what fails leaves nothing, and an id that is taken is refused", .exitTest)
  func failure() async throws {
    // The limit is the whole process's.
    await #expect(processExitsWith: .success) {
      let scratch = try Scratch()
      let profiles = OpenProfiles(auditRoot: scratch.auditRoot)
      let record = try Record.make(in: profiles, metadata: .example("1")).record
      #expect(throws: AuditError.collision(record: record.path)) {
        try Record.make(in: profiles, metadata: .example("1")).record
      }
      for name in ["", ".", "..", "a/b", "/a"] {
        #expect(throws: AuditError.unusableName(name)) {
          try Record.make(in: profiles, metadata: .example(name)).record
        }
      }
      signal(SIGXFSZ, SIG_IGN)
      var limit = rlimit(rlim_cur: 64, rlim_max: .max)
      try check("setrlimit", setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit))
      #expect(throws: AuditError.self) { try Record.make(in: profiles, metadata: .example("2")).record }
      #expect(try names(in: "\(scratch.auditRoot)/site-builder") == ["1"])
    }
  }
}
