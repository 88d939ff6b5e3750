// Who holds a pid file now: believed only of a process that has that very file open.

import Glibc
import Reactor
import TestSupport
import Testing

@testable import Daemon

@Suite("Predecessor")
struct PredecessorTests {
  init() { LoopThread.start() }

  private let scratch = Scratch()

  @Test("a pid file that is missing, stale or somebody else's names nobody") @Loop
  func nobody() throws {
    defer { scratch.remove() }
    let path = "\(scratch.path)/pid"
    #expect(Predecessor.holder(of: path) == nil)
    // A living process, which has nothing to do with the file.
    for text in ["1\n", "\(getppid())\n", "\(getpid())\n", "", "x\n", "99999999999\n"] {
      try write(text, to: path)
      #expect(Predecessor.holder(of: path) == nil)
    }
  }

  @Test("a process that has the file open is its holder, and one that would die of the signal is not asked")
  @Loop
  func holder() async throws {
    defer { scratch.remove() }
    let path = "\(scratch.path)/pid"
    let gate = try makeFIFO("\(scratch.path)/go")
    #expect(mkfifo("\(scratch.path)/ready", 0o600) == 0)
    let script = "cd \"$0\"; exec 9>pid; echo $$ >&9; echo up >ready; read word <go"
    let child = try Child(
      Command(
        executable: "/bin/sh", arguments: ["-c", script, scratch.path], environment: [],
        deadline: .seconds(3600)))
    _ = try contents(of: "\(scratch.path)/ready")
    let pid = try #require(Int32(try contents(of: path).dropLast()))
    #expect(Predecessor.holder(of: path) == pid)
    #expect(!Predecessor.takes(Service.handOverSignal, pid))
    let failure = await #expect(throws: StartFailure.self) {
      try await Predecessor(pidFile: path, worker: try sharedWorker(), log: .init(label: "agentd")).handOver()
    }
    #expect(failure?.description.contains("of a build that cannot hand over") == true)
    #expect(write(gate.raw, "go\n", 3) == 3)
    #expect(await child.wait().succeeded)
  }
}
