// Where mirrors may be, and how much they take.

import Glibc
import Reactor
import TestSupport
import Testing

@testable import Engine

@Suite("Mirrors on disk")
struct MirrorFilesTests {
  init() { LoopThread.start() }

  private func make(_ path: String, _ mode: mode_t) throws {
    guard mkdir(path, mode) == 0, chmod(path, mode) == 0 else { throw CallFailed("mkdir \(path)", errno) }
  }

  private func weakness(_ path: String, user: uid_t = geteuid()) -> String? {
    MirrorFiles.weakness(of: path, for: user)
  }

  @Test("a folder that everybody may write to is one in which others could replace what is below it")
  func everybody() throws {
    let scratch = Scratch()
    defer { scratch.remove() }
    let (open, closed) = ("\(scratch.path)/open", "\(scratch.path)/closed")
    try make(open, 0o777)
    try make(closed, 0o775)
    #expect(weakness("\(closed)/not/there/yet") == nil)
    let expected = "\(open) may be written to by everybody"
    #expect(weakness(open) == expected)
    #expect(weakness("\(open)/not/there/yet") == expected)
    // By links too, whatever they look like.
    for (number, target) in [open, "../open", "./.././open/"].enumerated() {
      let link = "\(closed)/link\(number)"
      #expect(symlink(target, link) == 0)
      #expect(weakness("\(link)/below") == expected)
    }
    // What is there is its owner's to remove.
    #expect(chmod(open, 0o1777) == 0)
    #expect(weakness("\(open)/below") == nil)
    let loop = "\(closed)/loop"
    #expect(symlink(loop, loop) == 0)
    #expect(weakness("\(loop)/below") == nil)
  }

  @Test("a folder or a link of another user is one as well")
  func strangers() throws {
    let scratch = Scratch()
    defer { scratch.remove() }
    try make("\(scratch.path)/theirs", 0o755)
    try make("\(scratch.path)/ours", 0o755)
    #expect(symlink("ours", "\(scratch.path)/link") == 0)
    // Only root can give a folder away; others are strangers to their own.
    let isRoot = geteuid() == 0
    let (stranger, user): (uid_t, uid_t) = isRoot ? (12345, 0) : (geteuid(), geteuid() + 1)
    if isRoot {
      for name in ["theirs", "link"] { #expect(lchown("\(scratch.path)/\(name)", stranger, stranger) == 0) }
    }
    for name in ["theirs", "link"] {
      let path = isRoot ? "\(scratch.path)/\(name)" : scratch.path
      #expect(weakness("\(scratch.path)/\(name)/below", user: user) == "\(path) belongs to uid \(stranger)")
    }
    #expect(weakness("\(scratch.path)/ours/below") == nil)
    #expect(weakness("/not-there-at-all") == nil)
  }

  @Test("a tree takes the sizes of its files, and something for each of them, up to where counting ends")
  @Loop
  func size() async throws {
    let scratch = Scratch()
    defer { scratch.remove() }
    let worker = try Worker()
    try make("\(scratch.path)/a", 0o700)
    try make("\(scratch.path)/a/b", 0o700)
    for number in 0..<600 { try write("x", to: "\(scratch.path)/a/b/\(number)") }
    try write(String(repeating: "x", count: 100_000), to: "\(scratch.path)/a/large")
    #expect(symlink("/", "\(scratch.path)/a/link") == 0)
    let expected = 603 * TreeSize.leastSize + 100_000
    #expect(await TreeSize.measure(scratch.path, upTo: 1 << 30, on: worker) == expected)
    #expect(await TreeSize.measure(scratch.path, upTo: expected, on: worker) == expected)
    #expect(await TreeSize.measure(scratch.path, upTo: expected - 1, on: worker) > expected - 1)
    let little = await TreeSize.measure(scratch.path, upTo: 10 * TreeSize.leastSize, on: worker)
    #expect(little > 10 * TreeSize.leastSize && little <= 100_000 + 11 * TreeSize.leastSize)
    #expect(await TreeSize.measure("\(scratch.path)/gone", upTo: 1, on: worker) == 0)
  }
}
