// How much of a processor a thread takes before others, and what of that its children see.

import CSupport
import Foundation
import Glibc
import Synchronization
import TestSupport
import Testing

@testable import Reactor

@Suite("Realtime share")
struct RealtimeShareTests {
  /// What a share has asked the kernel for.
  private final class Kernel: Sendable {
    let asked = Mutex<[Bool]>([])
    let grants: Bool
    init(grants: Bool = true) { self.grants = grants }

    func share() -> RealtimeShare {
      RealtimeShare(from: Instant(nanoseconds: 0)) { first in
        self.asked.withLock { $0.append(first) }
        return self.grants
      }
    }
  }

  private func at(_ microseconds: UInt64) -> Instant { Instant(nanoseconds: microseconds * 1000) }

  @Test("a thread that seldom works goes first all the time, and asks for that once")
  func seldom() {
    let kernel = Kernel()
    var share = kernel.share()
    var now: UInt64 = 0
    for _ in 0..<10_000 {
      share.willWait(at: at(now))
      #expect(share.isFirst)
      now += 900
      share.didWait(until: at(now))
      now += 90
      share.didWork(until: at(now))
    }
    #expect(kernel.asked.withLock { $0 } == [true])
  }

  @Test("a thread that is always busy goes first for a tenth of the time, and for what had come together")
  func always() {
    let kernel = Kernel()
    var share = kernel.share()
    var first: UInt64 = 0
    let end: UInt64 = 10_000_000
    for now in stride(from: UInt64(0), to: end, by: 100) {
      share.willWait(at: at(now))
      share.didWait(until: at(now))
      if share.isFirst { first += 100 }
    }
    let limit = UInt64(RealtimeShare.limit) / 1000
    #expect(first <= end / 10 + limit + 100)
    #expect(first >= end / 10 - limit)
    let asked = kernel.asked.withLock { $0 }
    #expect(asked.count > 10)
    // By turns, and never twice the same.
    #expect(zip(asked, asked.dropFirst()).allSatisfy { $0 != $1 })
  }

  @Test("one long stretch is paid for before the thread goes first again")
  func long() {
    let kernel = Kernel()
    var share = kernel.share()
    share.willWait(at: at(0))
    share.didWait(until: at(0))
    share.didWork(until: at(1_000_000))
    #expect(!share.isFirst)
    // More than 20 ms do not come together; so 980 ms are owed, and 10 ms are to be there again.
    share.willWait(at: at(1_000_000))
    share.didWait(until: at(10_890_000))
    share.willWait(at: at(10_890_000))
    #expect(!share.isFirst)
    share.didWait(until: at(10_910_000))
    share.willWait(at: at(10_910_000))
    #expect(share.isFirst)
  }

  @Test("a thread that may not go first does not ask again")
  func refused() {
    let kernel = Kernel(grants: false)
    var share = kernel.share()
    for now in stride(from: UInt64(0), to: 1_000_000, by: 1000) {
      share.willWait(at: at(now))
      share.didWait(until: at(now + 900))
    }
    #expect(!share.isFirst)
    #expect(kernel.asked.withLock { $0 } == [true])
  }

  @Test("a thread that goes first starts children that do not, nor does what they start, and can stop")
  func children() async throws {
    // A thread of its own: how it is scheduled is nobody else's matter.
    let seen = await withCheckedContinuation { continuation in
      Thread.detachNewThread { continuation.resume(returning: Result { try Self.observe() }) }
    }
    let policies = try seen.get()
    // Not everybody may; the same holds for who starts children then.
    #expect(policies.own == (policies.answer == 0 ? SCHED_FIFO : SCHED_OTHER))
    #expect([0, -EPERM].contains(policies.answer))
    if getuid() == 0 { #expect(policies.answer == 0) }
    #expect(policies.child == SCHED_OTHER)
    #expect(policies.grandchild == SCHED_OTHER)
    #expect(policies.after == SCHED_OTHER)
  }

  /// SCHED_RESET_ON_FORK of sched.h.
  private static let resetOnFork: Int32 = 0x4000_0000

  private struct Policies {
    var answer: Int32 = 0
    var own: Int32 = 0
    var child: Int32 = 0
    var grandchild: Int32 = 0
    var after: Int32 = 0
  }

  private static func observe() throws -> Policies {
    var policies = Policies()
    policies.answer = agentd_go_first()
    policies.own = sched_getscheduler(0)
    var (pid, pidfd): (pid_t, Int32) = (0, 0)
    let ends = try makePipe()
    // proc(5): the policy is the 41st field, and the second is one word here.
    let script = strdup("cut -d' ' -f41 /proc/self/stat; exec sleep 1000")
    let (shell, option, path) = (strdup("sh"), strdup("-c"), strdup("PATH=/usr/bin:/bin"))
    defer { for word in [script, shell, option, path] { free(word) } }
    let result = agentd_spawn(
      "/bin/sh", [shell, option, script, nil], [path, nil], [-1, ends.write, -1], &pid, &pidfd)
    close(ends.write)
    defer { close(ends.read) }
    guard result == 0 else { throw SystemError("spawn", .init(rawValue: -result)) }
    defer { close(pidfd) }
    policies.child = sched_getscheduler(pid) & ~resetOnFork
    var bytes = [UInt8](repeating: 0, count: 16)
    let count = read(ends.read, &bytes, bytes.count)
    policies.grandchild =
      Int32(String(decoding: bytes.prefix(max(0, count)).dropLast(), as: UTF8.self)) ?? -1
    _ = agentd_pidfd_signal(pidfd, SIGKILL)
    var status: Int32 = 0
    waitpid(pid, &status, 0)
    agentd_go_in_turn()
    policies.after = sched_getscheduler(0) & ~resetOnFork
    return policies
  }
}
