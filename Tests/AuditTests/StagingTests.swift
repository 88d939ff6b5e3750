// How the last session.json is put on the disk before it gets its name.

import FoundationEssentials
import Glibc
import TestSupport
import Testing
import Time

@testable import Audit

@Suite("Staging")
struct StagingTests {
  /// The metadata of a session that has ended, as it was known at this second.
  private static func final(_ second: Int64, commit: String? = nil) -> Metadata {
    var metadata = Metadata.example(daemonID: "0badcafe")
    metadata.commit = commit
    metadata.course.beginPhase("seal", at: Timestamp(secondsSinceEpoch: 1_795_406_800))
    metadata.course.endPhase(at: Timestamp(secondsSinceEpoch: second))
    metadata.outcome = "work_failed"
    metadata.exitCode = 5
    return metadata
  }

  private static let staged = final(1_795_406_801)
  private static let last = final(1_795_406_802)

  private func stagedPath(_ record: Record) -> String {
    "\(record.path)/agentd/\(Record.temporaryMetadataName)"
  }

  private func seal(_ record: Record, staging metadata: Metadata = staged) throws -> Sealing {
    let sealing = Sealing(of: record, staging: metadata)
    try sealing.sealCompletely()
    return sealing
  }

  private func inode(_ path: String) throws -> ino_t {
    var status = stat()
    try check("lstat", lstat(path, &status))
    return status.st_ino
  }

  private func text(_ metadata: Metadata) throws -> String {
    String(decoding: metadata.json(), as: UTF8.self)
  }

  @Test("a record that is sealed has its outcome staged, and session.json without one, until it is published")
  func staging() throws {
    let scratch = try Scratch()
    let record = try scratch.record()
    let first = try read(record.metadataPath)
    let sealing = Sealing(of: record, staging: Self.staged)
    while try !sealing.step(entries: 1) { #expect(sealing.staged == nil) }
    #expect(sealing.staged?.length == Self.staged.json().count)
    #expect(try read(record.metadataPath) == first)
    #expect(record.standing == .open)
    #expect(record.metadata?.outcome == nil)
    #expect(record.stagedMetadata == Self.staged)
    #expect(mode(stagedPath(record)) == 0o600)
    let inode = try inode(stagedPath(record))

    // What it answers holds the old one, whose blocks are given back when nobody waits.
    #expect(try record.publish(Self.last, staged: sealing.staged) != nil)
    #expect(try read(record.metadataPath) == text(Self.last))
    #expect(mode(record.metadataPath) == 0o444)
    #expect(record.standing == .complete)
    // The very file that is on the disk.
    #expect(try self.inode(record.metadataPath) == inode)
    #expect(try names(in: "\(record.path)/agentd") == ["console.log", "session.json"])
    #expect(try scratch.openDescriptors() == 0)
  }

  @Test("publishing leaves to who has the old session.json open what it was")
  func oldContent() throws {
    let scratch = try Scratch()
    let record = try scratch.record()
    let old = try read(record.metadataPath)
    let held = open(record.metadataPath, O_RDONLY | O_CLOEXEC)
    defer { close(held) }
    try record.publish(Self.last, staged: try seal(record).staged)
    var buffer = [UInt8](repeating: 0, count: old.utf8.count + 1)
    let count = read(held, &buffer, buffer.count)
    #expect(buffer.prefix(count).elementsEqual(old.utf8))
  }

  @Test(
    "metadata of another length than what was staged, and of a record whose staged file has gone, is published all the same"
  )
  func otherLength() throws {
    let scratch = try Scratch()
    for isGone in [false, true] {
      let record = try scratch.record("\(isGone)")
      let last = isGone ? Self.last : Self.final(1_795_406_802, commit: "4b825dc")
      let sealing = try seal(record)
      let inode = try inode(stagedPath(record))
      if isGone { try check("rename", rename(stagedPath(record), "\(scratch.path)/elsewhere")) }
      try record.publish(last, staged: sealing.staged)
      #expect(try read(record.metadataPath) == text(last))
      #expect(try self.inode(record.metadataPath) != inode)
      #expect(mode(record.metadataPath) == 0o444)
      #expect(try names(in: "\(record.path)/agentd") == ["console.log", "session.json"])
    }
  }

  @Test("what has the name of the staged file already is left to the publishing, which takes its place")
  func leftover() throws {
    let scratch = try Scratch()
    let record = try scratch.record()
    try write("{ half", to: stagedPath(record))
    try write("{ half of the next", to: "\(record.path)/agentd/\(Record.nextMetadataName)")
    let sealing = try seal(record)
    #expect(sealing.staged == nil)
    #expect(try read(stagedPath(record)) == "{ half")
    try record.publish(Self.last, staged: sealing.staged)
    #expect(try read(record.metadataPath) == text(Self.last))
    #expect(try names(in: "\(record.path)/agentd") == ["console.log", "session.json"])
  }

  @Test("a record that is not sealed is not published, whatever was staged in it")
  func refusal() throws {
    let scratch = try Scratch()
    let record = try scratch.record()
    try write("x", to: "\(record.runaPath)/file")
    try check("link", link("\(record.runaPath)/file", "\(scratch.path)/other"))
    let sealing = Sealing(of: record, staging: Self.staged)
    #expect(throws: AuditError.multipleLinks(record: record.path, path: "runa/file")) {
      try sealing.sealCompletely()
    }
    #expect(sealing.staged == nil)
    #expect(record.stagedMetadata == nil)
    #expect(throws: AuditError.notSealed(record: record.path)) { try record.publish(Self.last) }
    #expect(try names(in: "\(record.path)/agentd") == ["console.log", "session.json"])
  }

  @Test("no more records are held open than the limit says, and each lets go what it held", .exitTest)
  func heldLimit() async {
    // A process of its own: the others of this one hold some, too.
    await #expect(processExitsWith: .success) {
      let scratch = try Scratch()
      func hold() throws -> Sealing.Staged {
        let directory = try Directory(path: scratch.path)
        let file = try openDescriptor(scratch.path, O_RDONLY, path: scratch.path)
        return Sealing.Staged(.init(agentd: directory, file: file), length: 1)
      }
      func take(_ staged: Sealing.Staged) -> Bool {
        let parts = staged.takeParts()
        return parts != nil
      }
      var held: [Sealing.Staged] = []
      for _ in 0..<Sealing.Staged.heldLimit + 3 { held.append(try hold()) }
      #expect(try scratch.openDescriptors() == 2 * Sealing.Staged.heldLimit)
      for staged in held.suffix(3) { #expect(!take(staged)) }
      #expect(take(held[0]))
      #expect(!take(held[0]))
      #expect(try scratch.openDescriptors() == 2 * Sealing.Staged.heldLimit - 2)
      held = []
      #expect(try scratch.openDescriptors() == 0)
      #expect(take(try hold()))
    }
  }

  @Test("staging that fails leaves nothing, and is no failure of the sealing", .exitTest)
  func failure() async throws {
    // The limit is the whole process's.
    await #expect(processExitsWith: .success) {
      let scratch = try Scratch()
      let record = try scratch.record()
      signal(SIGXFSZ, SIG_IGN)
      var limit = rlimit(rlim_cur: 64, rlim_max: .max)
      try check("setrlimit", setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit))
      let sealing = Sealing(of: record, staging: .example())
      try sealing.sealCompletely()
      #expect(sealing.staged == nil)
      #expect(try names(in: "\(record.path)/agentd") == ["console.log", "session.json"])
      #expect(mode(record.consoleLogPath) == 0o444)
      #expect(try scratch.openDescriptors() == 0)
    }
  }

  @Test("what is no whole session.json with an outcome was not staged")
  func garbage() throws {
    let scratch = try Scratch()
    let record = try scratch.record()
    let whole = try text(Self.staged)
    #expect(record.stagedMetadata == nil)
    for garbage in ["", "{", String(whole.dropLast(2)), try text(.example()), "null\n", "\0\0\0\0"] {
      try write(garbage, to: stagedPath(record))
      #expect(record.stagedMetadata == nil)
    }
    try write(whole, to: stagedPath(record))
    #expect(record.stagedMetadata == Self.staged)
    try check("unlink", unlink(stagedPath(record)))
    try makeDirectory(stagedPath(record))
    #expect(record.stagedMetadata == nil)
    try check("rmdir", rmdir(stagedPath(record)))
    try write(whole, to: "\(scratch.path)/elsewhere")
    try check("symlink", symlink("\(scratch.path)/elsewhere", stagedPath(record)))
    #expect(record.stagedMetadata == nil)
  }
}
