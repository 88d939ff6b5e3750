// What sealing does to a tree, and what it never touches.

import CSupport
import FoundationEssentials
import Glibc
import Reactor
import Testing

@testable import Audit

@Suite("Sealing")
struct SealingTests {
  @Test(
    "directories become 0555 and files 0444, whatever they were; agentd's own directories stay open to it")
  func tree() throws {
    let scratch = try Scratch()
    let record = try scratch.record()
    let runa = record.runaPath
    try makeDirectory("\(runa)/a")
    try makeDirectory("\(runa)/a/b", mode: 0o2700)
    try makeDirectory("\(runa)/empty", mode: 0o1777)
    try write("", to: "\(runa)/a/script", mode: 0o4755)
    try write("", to: "\(runa)/a/b/secret", mode: 0o600)
    try write("", to: "\(runa)/name\nwith\u{1b} bytes \u{e9}", mode: 0o666)
    try Sealing(record: record).sealCompletely()
    for directory in ["", "/a", "/a/b", "/empty"] { #expect(mode(runa + directory) == 0o555) }
    for file in ["/a/script", "/a/b/secret", "/name\nwith\u{1b} bytes \u{e9}"] {
      #expect(mode(runa + file) == 0o444)
    }
    #expect(mode(record.consoleLogPath) == 0o444)
    #expect(mode(record.metadataPath) == 0o600)
    #expect(mode(record.path) == 0o700)
    #expect(mode("\(record.path)/agentd") == 0o700)
  }

  @Test("a user who is not root seals a tree of its own")
  func ordinaryUser() throws {
    let scratch = try Scratch()
    try check("chmod", chmod(scratch.path, 0o777))
    let record = try asOrdinaryUser { user in
      let record = try scratch.record()
      try makeDirectory("\(record.runaPath)/a", mode: 0o700)
      try write("", to: "\(record.runaPath)/a/closed", mode: 0)
      try Sealing(record: record, actingAs: user).sealCompletely()
      try record.publish(.example())
      return record
    }
    #expect(mode("\(record.runaPath)/a") == 0o555)
    #expect(mode("\(record.runaPath)/a/closed") == 0o444)
    #expect(mode(record.metadataPath) == 0o444)
  }

  @Test(
    "root seals what is closed to its own owner; another user is sent to podman unshare first",
    arguments: [0o000, 0o400, 0o300])
  func closedDirectory(closed: mode_t) throws {
    let scratch = try Scratch()
    try check("chmod", chmod(scratch.path, 0o777))
    let (record, refusal) = try asOrdinaryUser { user in
      let record = try scratch.record()
      try makeDirectory("\(record.runaPath)/closed", mode: 0o700)
      try write("", to: "\(record.runaPath)/closed/file", mode: 0)
      try check("chmod", chmod("\(record.runaPath)/closed", closed))
      return (record, Result { try Sealing(record: record, actingAs: user).sealCompletely() })
    }
    // A directory that may be read but not searched fails only at the file in it.
    let path = closed == 0o400 ? "runa/closed/file" : "runa/closed"
    #expect(throws: AuditError.foreignOwner(record: record.path, path: path)) { try refusal.get() }
    #expect(mode(record.runaPath) == 0o777)
    #expect(mode("\(record.runaPath)/closed") == closed)
    // Where this test is not run by root, sealing it for root is the rootless end-to-end run's to show.
    guard geteuid() == 0 else { return }
    try Sealing(record: record).sealCompletely()
    #expect(mode("\(record.runaPath)/closed") == 0o555)
    #expect(mode("\(record.runaPath)/closed/file") == 0o444)
  }

  @Test("an entry of another user is a reason to stop for who is not root, before anything is changed")
  func foreignOwner() throws {
    let scratch = try Scratch()
    let record = try scratch.record()
    try write("", to: "\(record.runaPath)/file")
    let sealing = try Sealing(record: record, actingAs: geteuid() + 1)
    let error = #expect(throws: AuditError.self) { try sealing.sealCompletely() }
    guard case .foreignOwner = error else {
      Issue.record("another error: \(String(describing: error))")
      return
    }
    #expect(mode(record.runaPath) == 0o777)
    #expect(mode("\(record.runaPath)/file") == 0o644)
  }

  @Test("root takes another user's directories over, so that he cannot open them again; his files stay his")
  func takenOver() throws {
    // Who is not root seals nothing of another user's: the rootless end-to-end run has what stands for root there.
    guard geteuid() == 0 else { return }
    let scratch = try Scratch()
    let record = try scratch.record()
    try makeDirectory("\(record.runaPath)/a", mode: 0o700)
    try makeDirectory("\(record.runaPath)/a/b", mode: 0o2770)
    try write("", to: "\(record.runaPath)/a/b/file", mode: 0o600)
    let agent: uid_t = 60600
    for name in ["", "/a", "/a/b", "/a/b/file"] {
      try check("chown", chown(record.runaPath + name, agent, agent))
    }
    try Sealing(record: record).sealCompletely()
    func owner(_ name: String) -> [uid_t] {
      var status = stat()
      return lstat(record.runaPath + name, &status) == 0 ? [status.st_uid, status.st_gid] : []
    }
    for directory in ["", "/a", "/a/b"] {
      #expect(owner(directory) == [0, agent])
      #expect(mode(record.runaPath + directory) == 0o555)
    }
    #expect(owner("/a/b/file") == [agent, agent])
    #expect(mode("\(record.runaPath)/a/b/file") == 0o444)
  }

  @Test("a mode that is set by name is never set through a symlink")
  func byName() throws {
    let scratch = try Scratch()
    let outside = try scratch.outside()
    try check("symlink", symlink(outside, "\(scratch.path)/link"))
    let directory = try Directory(path: scratch.path)
    #expect(agentd_entry_set_mode_of(directory.descriptor.raw, "link", 0o444) < 0)
    #expect(throws: AuditError.system(call: "chmod", path: "\(scratch.path)/link", code: ELOOP)) {
      try directory.setMode(0o444, of: "link")
    }
    #expect(mode(outside) == 0o640)
  }

  @Test("symlinks are left alone, and so is what they lead to")
  func symlinks() throws {
    let scratch = try Scratch()
    let record = try scratch.record()
    let file = try scratch.outside()
    try makeDirectory("\(scratch.path)/directory", mode: 0o750)
    try write("", to: "\(scratch.path)/directory/inner", mode: 0o640)
    for (index, target) in [file, "\(scratch.path)/directory", "/nowhere", "..", "."].enumerated() {
      try check("symlink", symlink(target, "\(record.runaPath)/link\(index)"))
    }
    try Sealing(record: record).sealCompletely()
    #expect(mode(file) == 0o640)
    #expect(mode("\(scratch.path)/directory") == 0o750)
    #expect(mode("\(scratch.path)/directory/inner") == 0o640)
    #expect(mode(record.path) == 0o700)
    #expect(try names(in: record.runaPath).count == 5)
  }

  @Test("FIFOs and sockets are sealed without being opened")
  func specialFiles() throws {
    let scratch = try Scratch()
    let record = try scratch.record()
    try check("mkfifo", mkfifo("\(record.runaPath)/fifo", 0o622))
    let name = "\(record.runaPath)/socket"
    try check("mknod", mknod(name, S_IFSOCK | 0o666, 0))
    try Sealing(record: record).sealCompletely()
    #expect(mode("\(record.runaPath)/fifo") == 0o444)
    #expect(mode(name) == 0o444)
  }

  @Test("before Linux 6.6 the mode of a held entry is set through /proc, whatever the entry is")
  func modesThroughProc() throws {
    let scratch = try Scratch()
    try makeDirectory("\(scratch.path)/directory", mode: 0o700)
    try check("mkfifo", mkfifo("\(scratch.path)/fifo", 0o600))
    try write("", to: "\(scratch.path)/closed", mode: 0)
    let outside = try scratch.outside()
    try check("symlink", symlink(outside, "\(scratch.path)/link"))
    var modes = HeldModes()
    for name in ["directory", "fifo", "closed"] {
      let held = try hold("\(scratch.path)/\(name)", in: AT_FDCWD, path: name)
      try modes.setThroughProc(0o444, on: held.raw, path: name)
      #expect(mode("\(scratch.path)/\(name)") == 0o444)
    }
    let held = try hold("\(scratch.path)/link", in: AT_FDCWD, path: "link")
    #expect(throws: AuditError.self) { try modes.setThroughProc(0o444, on: held.raw, path: "link") }
    #expect(throws: AuditError.self) { try modes.set(0o444, on: held.raw, path: "link") }
    #expect(mode(outside) == 0o640)
  }

  @Test("10,000 files in one directory are sealed, no step handling more than it was told")
  func manyFiles() throws {
    let scratch = try Scratch()
    let record = try scratch.record()
    try makeDirectory("\(record.runaPath)/many")
    for number in 0..<10_000 {
      try check("mknod", mknod("\(record.runaPath)/many/\(number)", S_IFREG | 0o666, 0))
    }
    let sealing = try Sealing(record: record)
    var steps = 0
    while try !sealing.step(entries: 100) { steps += 1 }
    #expect((200...210).contains(steps))
    for name in try names(in: "\(record.runaPath)/many") {
      guard mode("\(record.runaPath)/many/\(name)") == 0o444 else {
        Issue.record("\(name) is not sealed")
        return
      }
    }
  }

  @Test("a record that is sealed already is sealed again, and a finished sealing stays finished")
  func again() throws {
    let scratch = try Scratch()
    let record = try scratch.record()
    try write("", to: "\(record.runaPath)/file")
    let sealing = try Sealing(record: record)
    try sealing.sealCompletely()
    #expect(try sealing.step(entries: 1))
    try Sealing(record: record).sealCompletely()
    #expect(mode("\(record.runaPath)/file") == 0o444)
  }

  @Test("every descriptor is closed when sealing ends, fails, or is given up half way")
  func descriptors() throws {
    let scratch = try Scratch()
    let record = try scratch.record()
    try makeDirectory("\(record.runaPath)/a")
    try makeDirectory("\(record.runaPath)/a/b")
    try write("", to: "\(record.runaPath)/a/b/file")
    for steps in 0..<20 {
      var sealing: Sealing? = try Sealing(record: record)
      for _ in 0..<steps { _ = try sealing?.step(entries: 1) }
      if steps == 5 { #expect(try scratch.openDescriptors() > 0) }
      sealing = nil
      #expect(try scratch.openDescriptors() == 0, "given up after \(steps) steps")
    }
    let finished = try Sealing(record: record)
    try finished.sealCompletely()
    #expect(try scratch.openDescriptors() == 0)
    try check("link", link("\(record.runaPath)/a/b/file", "\(scratch.path)/second"))
    let failed = try Sealing(record: record)
    #expect(throws: AuditError.self) { try failed.sealCompletely() }
    #expect(try scratch.openDescriptors() == 0)
    withExtendedLifetime((finished, failed)) {}
  }
}
