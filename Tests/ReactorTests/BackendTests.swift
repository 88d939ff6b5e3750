// Which kernel interface the loop waits on: the one that was asked for, else the best that the kernel grants.

import Glibc
import TestSupport
import Testing

@testable import Reactor

@Suite("Backend")
struct BackendTests {
  private func choice(_ forced: String?) throws -> BackendChoice { try openBackend(forced: forced).1 }

  private func refusal(_ forced: String?) -> String? {
    do throws(BackendUnavailable) {
      _ = try openBackend(forced: forced)
      return nil
    } catch {
      return error.description
    }
  }

  @Test("a forced one is taken, and the reason says so", arguments: BackendChoice.Kind.allCases)
  func forced(_ kind: BackendChoice.Kind) throws {
    let reason = "AGENTD_REACTOR asks for it"
    #expect(try choice(kind.rawValue) == BackendChoice(kind: kind, reason: reason))
  }

  @Test("unset or empty, it is io_uring where the kernel grants it", arguments: [nil, ""])
  func best(_ forced: String?) throws {
    #expect(try choice(forced) == BackendChoice(kind: .ioUring, reason: "the kernel grants it"))
  }

  @Test("any other word is refused with the words that there are", arguments: ["kqueue", "EPOLL", " epoll"])
  func unknown(_ forced: String) {
    #expect(refusal(forced) == "AGENTD_REACTOR is \"\(forced)\": set it to io_uring or epoll, or unset it.")
  }

  @Test("where the kernel refuses io_uring, epoll is taken with the reason, and forcing io_uring is an error")
  func refusedRing() throws {
    try withoutRing { () throws in
      for forced in [nil, ""] {
        #expect(
          try choice(forced)
            == BackendChoice(
              kind: .epoll, reason: "io_uring is not granted: io_uring_setup: Operation not permitted"))
      }
      #expect(try choice("epoll").kind == .epoll)
      #expect(
        refusal("io_uring") == "AGENTD_REACTOR asks for io_uring, which this kernel refuses (io_uring_setup: "
          + "Operation not permitted). Unset it to use epoll, or enable io_uring (sysctl kernel.io_uring_disabled=0)."
      )
    }
  }

  @Test("a loop that cannot be had is refused before anything of it runs", .exitTest)
  func refusedLoop() async {
    await #expect(processExitsWith: .success) { () async throws in
      #expect(throws: BackendUnavailable.self) {
        try Loop.run(forcedBackend: "kqueue") { _ in Issue.record("it ran") }
      }
      #expect(try Loop.run(forcedBackend: "epoll") { $0.kind } == .epoll)
      // One after the other is allowed, and each has its own backend.
      #expect(try Loop.run(forcedBackend: "io_uring") { $0.kind } == .ioUring)
    }
  }

  /// Runs the body on a thread that the kernel refuses io_uring, by a seccomp filter that dies with the thread.
  private func withoutRing(_ body: () throws -> Void) throws {
    struct Instruction {
      var code: UInt16
      var jumpIfTrue: UInt8 = 0
      var jumpIfFalse: UInt8 = 0
      var operand: UInt32
    }
    struct Program {
      var count: UInt16
      var instructions: UnsafeMutablePointer<Instruction>
    }
    // linux/bpf_common.h and linux/seccomp.h. The number of a call is the first field that a filter sees.
    let (load, jumpIfEqual, end): (UInt16, UInt16, UInt16) = (0x20, 0x15, 0x06)
    let (refuse, allow): (UInt32, UInt32) = (0x0005_0000 | UInt32(EPERM), 0x7fff_0000)
    let ioUringSetup: UInt32 = 425
    var filter = [
      Instruction(code: load, operand: 0),
      Instruction(code: jumpIfEqual, jumpIfFalse: 1, operand: ioUringSetup),
      Instruction(code: end, operand: refuse), Instruction(code: end, operand: allow),
    ]
    let (noNewPrivileges, setSeccomp, filterMode): (Int32, Int32, UInt) = (38, 22, 2)
    let prctl = try symbol("prctl", as: (@convention(c) (Int32, UInt, UInt, UInt, UInt) -> Int32).self)
    try onItsOwnThread {
      guard prctl(noNewPrivileges, 1, 0, 0, 0) == 0 else { throw CallFailed("prctl", errno) }
      try filter.withUnsafeMutableBufferPointer { instructions in
        guard let start = instructions.baseAddress else { return }
        var program = Program(count: UInt16(instructions.count), instructions: start)
        let result = withUnsafeMutablePointer(to: &program) {
          prctl(setSeccomp, filterMode, UInt(bitPattern: $0), 0, 0)
        }
        guard result == 0 else { throw CallFailed("seccomp", errno) }
      }
      try body()
    }
  }
}
