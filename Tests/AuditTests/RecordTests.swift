// How a record is made, written and published.

import FoundationEssentials
import Glibc
import Reactor
import TestSupport
import Testing
import Time

@testable import Audit

@Suite("Record")
struct RecordTests {
  @Test("the modes of a new record are exact under any umask", arguments: [0o000, 0o022, 0o077, 0o777])
  func modes(mask: mode_t) throws {
    let scratch = try Scratch()
    let record = try withUmask(mask) { try scratch.record() }
    let directories = [scratch.auditRoot, "\(scratch.auditRoot)/site-builder", record.path]
    for directory in directories + ["\(record.path)/agentd"] { #expect(mode(directory) == 0o700) }
    #expect(mode(record.runaPath) == 0o777)
    #expect(mode(record.consoleLogPath) == 0o600)
    #expect(mode(record.metadataPath) == 0o600)
  }

  @Test(
    "the modes of a new record are exact for a user who is not root, even when the umask closes it to him",
    arguments: [0o022, 0o777])
  func modesOfOrdinaryUser(mask: mode_t) throws {
    let scratch = try Scratch()
    try check("chmod", chmod(scratch.path, 0o777))
    let record = try asOrdinaryUser { _ in try withUmask(mask) { try scratch.record() } }
    let directories = [scratch.auditRoot, "\(scratch.auditRoot)/site-builder", record.path]
    for directory in directories + ["\(record.path)/agentd"] { #expect(mode(directory) == 0o700) }
    #expect(mode(record.runaPath) == 0o777)
    #expect(mode(record.consoleLogPath) == 0o600)
  }

  @Test("a new record holds an empty console.log, the metadata of the start, and nothing else")
  func content() throws {
    let scratch = try Scratch()
    let record = try scratch.record()
    #expect(record.path == "\(scratch.auditRoot)/site-builder/0123456789abcdef")
    #expect(try names(in: record.path) == ["agentd", "runa"])
    #expect(try names(in: record.runaPath) == [])
    #expect(try names(in: "\(record.path)/agentd") == ["console.log", "session.json"])
    #expect(try read(record.consoleLogPath) == "")
    #expect(try read(record.metadataPath) == String(decoding: Metadata.example().json(), as: UTF8.self))
    #expect(try scratch.openDescriptors() == 0)
  }

  @Test("an audit root that is there keeps its mode, a profile's directory in it is closed to others")
  func existing() throws {
    let scratch = try Scratch()
    try makeDirectory(scratch.auditRoot, mode: 0o750)
    try makeDirectory("\(scratch.auditRoot)/site-builder", mode: 0o755)
    _ = try scratch.record()
    #expect(mode(scratch.auditRoot) == 0o750)
    #expect(mode("\(scratch.auditRoot)/site-builder") == 0o700)
  }

  @Test("a second record of the same id is refused and the first is left as it was")
  func collision() throws {
    let scratch = try Scratch()
    let record = try scratch.record()
    try write("kept", to: "\(record.runaPath)/file")
    let other = Metadata.example(workUnit: "issue-43")
    #expect(throws: AuditError.collision(record: record.path)) {
      try Record.create(auditRoot: scratch.auditRoot, metadata: other)
    }
    #expect(try read("\(record.runaPath)/file") == "kept")
    #expect(try read(record.metadataPath).contains("team/site.git"))
  }

  @Test("a name that would leave the audit root is refused", arguments: ["", ".", "..", "a/b", "/a"])
  func unusableName(name: String) throws {
    let scratch = try Scratch()
    #expect(throws: AuditError.unusableName(name)) {
      try Record.create(auditRoot: scratch.auditRoot, metadata: .example(name))
    }
    #expect(mode(scratch.auditRoot) == nil)
  }

  @Test("a profile's directory that is a symlink is refused")
  func symlinkedProfile() throws {
    let scratch = try Scratch()
    try makeDirectory(scratch.auditRoot)
    try makeDirectory("\(scratch.path)/elsewhere")
    try check("symlink", symlink("\(scratch.path)/elsewhere", "\(scratch.auditRoot)/site-builder"))
    let error = #expect(throws: AuditError.self) { try scratch.record() }
    let path = "\(scratch.auditRoot)/site-builder"
    #expect(error == .system(call: "open", path: path, code: ENOTDIR))
    #expect(mode("\(scratch.path)/elsewhere") == 0o755)
  }

  @Test("a profile's directory that is closed to its own user is opened to him again, whatever its mode was")
  func closedProfile() throws {
    let scratch = try Scratch()
    try check("chmod", chmod(scratch.path, 0o777))
    for (number, closed) in ([0o000, 0o300, 0o2700, 0o1777] as [mode_t]).enumerated() {
      let record = try asOrdinaryUser { _ in
        if number == 0 { try makeDirectory(scratch.auditRoot) }
        try? makeDirectory("\(scratch.auditRoot)/site-builder")
        try check("chmod", chmod("\(scratch.auditRoot)/site-builder", closed))
        return try scratch.record("\(number)")
      }
      #expect(mode("\(scratch.auditRoot)/site-builder") == 0o700)
      #expect(mode(record.path) == 0o700)
    }
  }

  @Test("a record that cannot be completed is removed again", .exitTest)
  func incomplete() async throws {
    // The limit is the whole process's.
    await #expect(processExitsWith: .success) {
      let scratch = try Scratch()
      _ = try scratch.record()
      signal(SIGXFSZ, SIG_IGN)
      var limit = rlimit(rlim_cur: 64, rlim_max: .max)
      try check("setrlimit", setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit))
      let path = "\(scratch.auditRoot)/site-builder/1111111111111111"
      let failure = AuditError.system(call: "write", path: "\(path)/agentd/session.json", code: EFBIG)
      #expect(throws: failure) { try scratch.record("1111111111111111") }
      #expect(try names(in: "\(scratch.auditRoot)/site-builder") == ["0123456789abcdef"])
      #expect(try scratch.openDescriptors() == 0)
    }
  }

  @Test("a new record is synchronized, as often as one likes, and stays as it was")
  func synchronize() throws {
    let scratch = try Scratch()
    let record = try scratch.record()
    let content = try read(record.metadataPath)
    for _ in 0..<2 { try record.synchronize() }
    #expect(try read(record.metadataPath) == content)
    #expect(try names(in: "\(record.path)/agentd") == ["console.log", "session.json"])
    #expect(record.standing == .open)
    #expect(try scratch.openDescriptors() == 0)
  }

  @Test("synchronizing tells of the first part of a record that is not there, and makes none")
  func synchronizeWhatHasGone() throws {
    let scratch = try Scratch()
    let record = try scratch.record()
    func expectMissing(_ path: String) {
      let expected = AuditError.system(call: "open", path: path, code: ENOENT)
      #expect(throws: expected) { try record.synchronize() }
      #expect(expected.description.hasSuffix("see who removed it."))
      #expect(mode(path) == nil)
    }
    try check("unlink", unlink(record.metadataPath))
    expectMissing(record.metadataPath)
    record.discard()
    expectMissing(record.path)
    try check("rmdir", rmdir("\(scratch.auditRoot)/site-builder"))
    expectMissing("\(scratch.auditRoot)/site-builder")
  }

  @Test("synchronizing follows no symlink in the record")
  func synchronizeSymlinks() throws {
    let scratch = try Scratch()
    let record = try scratch.record()
    try check("rename", rename(record.metadataPath, "\(scratch.path)/session.json"))
    try check("symlink", symlink("\(scratch.path)/session.json", record.metadataPath))
    #expect(throws: AuditError.system(call: "open", path: record.metadataPath, code: ELOOP)) {
      try record.synchronize()
    }
    try check("rename", rename("\(record.path)/agentd", "\(scratch.path)/agentd"))
    try check("symlink", symlink("\(scratch.path)/agentd", "\(record.path)/agentd"))
    #expect(throws: AuditError.system(call: "open", path: "\(record.path)/agentd", code: ENOTDIR)) {
      try record.synchronize()
    }
  }

  @Test("what a kill or a power failure leaves of a record that is being made is none")
  func standing() throws {
    let scratch = try Scratch()
    let record = try Record.create(
      auditRoot: scratch.auditRoot, metadata: .example(daemonID: "0badcafe"))
    func unfinished() -> [Record] {
      Record.unfinished(auditRoot: scratch.auditRoot, daemon: "0badcafe", except: []).map(\.0)
    }
    #expect(record.standing == .open)
    #expect(unfinished() == [record])
    // Killed while session.json was written.
    try check("chmod", chmod(record.metadataPath, 0))
    #expect(record.standing == .unmade)
    try check("chmod", chmod(record.metadataPath, 0o600))
    #expect(record.standing == .open)
    // The name was on the disk before the content.
    try write("", to: record.metadataPath, mode: 0o600)
    #expect(record.standing == .unmade)
    #expect(unfinished() == [])
    try check("unlink", unlink(record.metadataPath))
    #expect(record.standing == .unmade)
    record.discard()
    #expect(mode(record.path) == nil)
    #expect(record.standing == .unmade)
  }

  @Test("a writable audit root is made, proven and left empty")
  func proveWritable() throws {
    let scratch = try Scratch()
    let root = "\(scratch.path)/a/b/audit/"
    try Record.proveWritable(auditRoot: root)
    try Record.proveWritable(auditRoot: root)
    for directory in ["a", "a/b", "a/b/audit"] { #expect(mode("\(scratch.path)/\(directory)") == 0o700) }
    #expect(try names(in: root) == [])
  }

  @Test("an audit root that cannot be written to is told with what to do")
  func notWritable() throws {
    let scratch = try Scratch()
    try makeDirectory(scratch.auditRoot, mode: 0o555)
    let error = #expect(throws: AuditError.self) {
      try asOrdinaryUser { _ in try Record.proveWritable(auditRoot: scratch.auditRoot) }
    }
    #expect(error?.description.contains("give the daemon's user access to it") == true)
    try write("", to: "\(scratch.path)/file")
    #expect(throws: AuditError.system(call: "open", path: "\(scratch.path)/file", code: ENOTDIR)) {
      try Record.proveWritable(auditRoot: "\(scratch.path)/file")
    }
  }

  @Test("session.json is replaced whole: who has the old one open keeps it, and no other file is left")
  func replaced() throws {
    let scratch = try Scratch()
    let record = try scratch.record()
    let old = try #require(FileManager.default.contents(atPath: record.metadataPath))
    let held = open(record.metadataPath, O_RDONLY | O_CLOEXEC)
    defer { close(held) }
    // A daemon died in mid-write.
    try write("{ half", to: "\(record.path)/agentd/\(Record.temporaryMetadataName)")
    var metadata = Metadata.example()
    metadata.commit = "4b825dc"
    try record.write(metadata.json(), mode: 0o600, in: record.openAgentd())
    var buffer = [UInt8](repeating: 0, count: old.count + 1)
    let count = read(held, &buffer, buffer.count)
    #expect(buffer.prefix(count).elementsEqual(old))
    #expect(try read(record.metadataPath).contains(#""commit": "4b825dc""#))
    #expect(mode(record.metadataPath) == 0o600)
    #expect(try names(in: "\(record.path)/agentd") == ["console.log", "session.json"])
  }

  @Test("a write that fails leaves the old session.json")
  func failedWrite() throws {
    let scratch = try Scratch()
    let record = try scratch.record()
    let old = try read(record.metadataPath)
    try makeDirectory("\(record.path)/agentd/\(Record.temporaryMetadataName)")
    #expect(throws: AuditError.self) {
      try record.write(Metadata.example("ffffffffffffffff").json(), mode: 0o600, in: record.openAgentd())
    }
    #expect(try read(record.metadataPath) == old)
  }

  @Test("agentd's own lines are in podman's format, one line each, whatever is in the sentence")
  func console() throws {
    let scratch = try Scratch()
    let record = try scratch.record()
    let time = Timestamp(nanosecondsSinceEpoch: 1_795_406_706_789_012_345)
    try record.appendToConsole("first", at: time)
    try record.appendToConsole("a\nb\u{1b}[2Jc\r\u{2028}d", at: time)
    #expect(
      try read(record.consoleLogPath) == """
        2026-11-23T04:05:06.789012345Z stderr F agentd: first
        2026-11-23T04:05:06.789012345Z stderr F agentd: a b [2Jc  d

        """)
    #expect(mode(record.consoleLogPath) == 0o600)
  }

  @Test("a line follows half a line that a killed writer left on a line of its own")
  func consoleAfterHalfALine() throws {
    let scratch = try Scratch()
    let record = try scratch.record()
    try write("2026-11-23T04:05:06.7Z stdout F cut", to: record.consoleLogPath)
    try record.appendToConsole("gone", at: Timestamp(nanosecondsSinceEpoch: 0))
    #expect(
      try read(record.consoleLogPath) == """
        2026-11-23T04:05:06.7Z stdout F cut
        1970-01-01T00:00:00.000000000Z stderr F agentd: gone

        """)
  }

  @Test("a line that ends the log already is not added again, and nothing is added to what is being sealed")
  func consoleTwice() throws {
    let scratch = try Scratch()
    let record = try scratch.record()
    let (first, second) = (Timestamp(secondsSinceEpoch: 1), Timestamp(secondsSinceEpoch: 2))
    try record.appendToConsole("gone", at: first)
    try record.appendToConsole("gone", at: second)
    let once = "1970-01-01T00:00:01.000000000Z stderr F agentd: gone\n"
    #expect(try read(record.consoleLogPath) == once)
    try record.appendToConsole("one", at: second)
    let both = once + "1970-01-01T00:00:02.000000000Z stderr F agentd: one\n"
    #expect(try read(record.consoleLogPath) == both)
    #expect(chmod(record.consoleLogPath, 0o444) == 0)
    try record.appendToConsole("gone", at: second)
    #expect(try read(record.consoleLogPath) == both)
  }

  @Test("a record is published only after it was sealed, and then session.json is read-only too")
  func publish() throws {
    let scratch = try Scratch()
    let record = try scratch.record()
    var metadata = Metadata.example()
    metadata.outcome = "success"
    #expect(throws: AuditError.notSealed(record: record.path)) { try record.publish(metadata) }
    let sealing = try Sealing(record: record)
    // What comes after console.log waits for the disk, and changes nothing.
    while try !sealing.step(entries: 1), mode(record.consoleLogPath) != 0o444 {
      #expect(throws: AuditError.notSealed(record: record.path)) { try record.publish(metadata) }
    }
    try sealing.sealCompletely()
    #expect(mode(record.metadataPath) == 0o600)
    #expect(try !read(record.metadataPath).contains("outcome"))
    try record.publish(metadata)
    #expect(mode(record.metadataPath) == 0o444)
    #expect(try read(record.metadataPath).contains(#""outcome": "success""#))
    #expect(try names(in: "\(record.path)/agentd") == ["console.log", "session.json"])
    #expect(mode(record.path) == 0o700)
    #expect(try scratch.openDescriptors() == 0)
  }

  @Test("a sentence about a path that an agent chose stays one printable line")
  func errorText() {
    let error = AuditError.multipleLinks(record: "/audit/p/1", path: "runa/a\n\u{1b}[31mb")
    #expect(error.description.contains(#"'runa/a\n\u{1B}[31mb'"#))
    #expect(!error.description.contains("\n"))
  }
}
