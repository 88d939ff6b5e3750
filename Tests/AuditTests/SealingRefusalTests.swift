// What sealing refuses, and what it does when the tree changes under it.

import FoundationEssentials
import Glibc
import Reactor
import Testing

@testable import Audit

@Suite("Sealing refuses")
struct SealingRefusalTests {
  @Test(
    "a file with a second link anywhere is refused by name, and nothing is changed", arguments: ["a", "z"])
  func hardLink(name: String) throws {
    let scratch = try Scratch()
    let record = try scratch.record()
    let outside = try scratch.outside()
    for directory in ["a", "m", "z"] {
      try makeDirectory("\(record.runaPath)/\(directory)")
      try write("", to: "\(record.runaPath)/\(directory)/file", mode: 0o600)
    }
    try check("link", link(outside, "\(record.runaPath)/\(name)/linked"))
    let sealing = try Sealing(record: record)
    let expected = AuditError.multipleLinks(record: record.path, path: "runa/\(name)/linked")
    #expect(throws: expected) { try sealing.sealCompletely() }
    #expect(throws: expected) { try sealing.step(entries: 1) }
    #expect(expected.description.contains("'runa/\(name)/linked'"))
    #expect(mode(outside) == 0o640)
    #expect(mode(record.runaPath) == 0o777)
    #expect(mode(record.consoleLogPath) == 0o600)
    for directory in ["a", "m", "z"] {
      #expect(mode("\(record.runaPath)/\(directory)") == 0o755)
      #expect(mode("\(record.runaPath)/\(directory)/file") == 0o600)
    }
  }

  @Test("two names of one file inside the record are refused too, and so is a second name of console.log")
  func linksInside() throws {
    let scratch = try Scratch()
    let record = try scratch.record()
    try write("", to: "\(record.runaPath)/one")
    try check("link", link("\(record.runaPath)/one", "\(record.runaPath)/two"))
    #expect(throws: AuditError.self) { try Sealing(record: record).sealCompletely() }
    let other = try scratch.record("1111111111111111")
    try check("link", link(other.consoleLogPath, "\(scratch.path)/log"))
    #expect(throws: AuditError.multipleLinks(record: other.path, path: "agentd/console.log")) {
      try Sealing(record: other).sealCompletely()
    }
    #expect(mode(other.runaPath) == 0o777)
  }

  @Test("a hard link that appears after the first pass is refused and the file keeps its mode")
  func hardLinkBetweenPasses() throws {
    let scratch = try Scratch()
    let record = try scratch.record()
    let file = "\(record.runaPath)/file"
    try write("", to: file, mode: 0o640)
    let sealing = try Sealing(record: record)
    while mode(record.runaPath) != 0o555 { try #require(try !sealing.step(entries: 1)) }
    try check("link", link(file, "\(scratch.path)/second"))
    #expect(throws: AuditError.multipleLinks(record: record.path, path: "runa/file")) {
      try sealing.sealCompletely()
    }
    #expect(mode(file) == 0o640)
    #expect(throws: AuditError.notSealed(record: record.path)) { try record.publish(.example()) }
  }

  @Test("directories nested to the limit are sealed, one more is refused and nothing is changed")
  func depth() throws {
    let scratch = try Scratch()
    let record = try scratch.record()
    var deepest = record.runaPath
    for _ in 1..<Sealing.depthLimit {
      deepest += "/d"
      try makeDirectory(deepest)
    }
    let tooDeep = deepest + "/d"
    try makeDirectory(tooDeep)
    let relative = String(tooDeep.dropFirst(record.path.count + 1))
    let limit = Sealing.depthLimit
    #expect(throws: AuditError.tooDeep(record: record.path, path: relative, limit: limit)) {
      try Sealing(record: record).sealCompletely()
    }
    #expect(mode(record.runaPath) == 0o777)
    #expect(try scratch.openDescriptors() == 0)
    try check("rmdir", rmdir(tooDeep))
    try Sealing(record: record).sealCompletely()
    #expect(mode(deepest) == 0o555)
  }

  @Test("what is on another mount or device is refused, files as well as directories")
  func otherFileSystems() throws {
    let root = Entry(mode: S_IFDIR | 0o700, owner: 7, links: 4, device: 1, mount: 30)
    func kind(_ mode: mode_t, device: UInt64 = 1, mount: UInt64 = 30) throws -> SealingWalk.Kind {
      let entry = Entry(mode: mode, owner: 7, links: 1, device: device, mount: mount)
      return try SealingWalk.kind(of: entry, below: root, user: 7, record: "/r", path: "runa/x")
    }
    let refused = AuditError.anotherFileSystem(record: "/r", path: "runa/x")
    #expect(throws: refused) { try kind(S_IFDIR, device: 2, mount: 31) }
    #expect(throws: refused) { try kind(S_IFDIR, device: 1, mount: 31) }
    #expect(throws: refused) { try kind(S_IFDIR, device: 2, mount: 30) }
    #expect(throws: refused) { try kind(S_IFREG, device: 2, mount: 31) }
    #expect(try kind(S_IFLNK, device: 2, mount: 31) == .symlink)
    #expect(try kind(S_IFREG) == .file)
    #expect(try kind(S_IFIFO) == .file)
    #expect(try kind(S_IFDIR) == .directory)
    // An overlay file system gives a file the device of the layer it is in.
    #expect(try kind(S_IFREG, device: 2, mount: 30) == .file)
  }

  @Test("the mount an entry is on is known here, and differs between /proc and the scratch directory")
  func mountsAreKnown() throws {
    let scratch = try Scratch()
    let here = try Entry(describing: scratch.path, in: AT_FDCWD, path: scratch.path)
    let elsewhere = try Entry(describing: "/proc/self", in: AT_FDCWD, path: "/proc/self")
    #expect(here.mount != 0)
    #expect(here.mount != elsewhere.mount)
  }

  @Test("a record without runa/ or console.log is not sealed")
  func missingParts() throws {
    let scratch = try Scratch()
    let first = try scratch.record()
    try check("rmdir", rmdir(first.runaPath))
    #expect(throws: AuditError.system(call: "open", path: first.runaPath, code: ENOENT)) {
      try Sealing(record: first).sealCompletely()
    }
    let second = try scratch.record("1111111111111111")
    try check("unlink", unlink(second.consoleLogPath))
    #expect(throws: AuditError.system(call: "open", path: second.consoleLogPath, code: ENOENT)) {
      try Sealing(record: second).sealCompletely()
    }
    #expect(mode(second.runaPath) == 0o777)
  }

  @Test("a record whose runa/ is something else is refused, and nothing is changed")
  func strangeRuna() throws {
    let scratch = try Scratch()
    let record = try scratch.record()
    let refused = AuditError.system(call: "open", path: record.runaPath, code: ENOTDIR)
    try check("rename", rename(record.runaPath, "\(scratch.path)/aside"))
    try check("symlink", symlink("\(scratch.path)/aside", record.runaPath))
    #expect(throws: refused) { try Sealing(record: record).sealCompletely() }
    try check("unlink", unlink(record.runaPath))
    try write("", to: record.runaPath, mode: 0o600)
    #expect(throws: refused) { try Sealing(record: record).sealCompletely() }
    #expect(mode(record.runaPath) == 0o600)
    #expect(mode("\(scratch.path)/aside") == 0o777)
    #expect(mode(record.consoleLogPath) == 0o600)
  }

  @Test("a symlink that takes the place of a file or a directory, at any step, leads sealing nowhere")
  func swappedForSymlink() throws {
    let scratch = try Scratch()
    let outside = try scratch.outside()
    let directory = "\(scratch.path)/directory"
    try makeDirectory(directory, mode: 0o750)
    try write("", to: "\(directory)/inner", mode: 0o640)
    for name in ["d/file", "d"] {
      // The whole sealing of this tree takes fewer steps: the swap is tried before each of them.
      for steps in 0..<16 {
        let record = try scratch.record("\(name == "d" ? "d" : "f")\(steps)")
        try makeDirectory("\(record.runaPath)/d")
        try write("", to: "\(record.runaPath)/d/file")
        try write("", to: "\(record.runaPath)/other")
        let sealing = try Sealing(record: record)
        for _ in 0..<steps { _ = try sealing.step(entries: 1) }
        try swap("\(record.runaPath)/\(name)", in: record, forSymlinkTo: name == "d" ? directory : outside)
        try sealing.sealCompletely()
        #expect(mode(outside) == 0o640)
        #expect(mode(directory) == 0o750)
        #expect(mode("\(directory)/inner") == 0o640)
        #expect(mode("\(record.runaPath)/other") == 0o444)
      }
    }
  }

  /// Moves an entry of the record out of it and puts a symlink in its place, also where it is sealed already.
  private func swap(_ path: String, in record: Record, forSymlinkTo target: String) throws {
    let parent = String(path.prefix(upTo: try #require(path.lastIndex(of: "/"))))
    let aside = "\(record.path)-aside"
    let (parentMode, entryMode) = (try #require(mode(parent)), try #require(mode(path)))
    // Who is not root moves neither what is in a sealed directory nor the directory.
    try check("chmod", chmod(parent, 0o755))
    try check("chmod", chmod(path, 0o755))
    try check("rename", rename(path, aside))
    try check("symlink", symlink(target, path))
    try check("chmod", chmod(aside, entryMode))
    try check("chmod", chmod(parent, parentMode))
  }
}
