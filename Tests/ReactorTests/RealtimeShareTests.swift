// How much of a processor a thread takes before others, and what of that its children see.

import CSupport
import Dispatch
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
      RealtimeShare(from: .init(now: Instant(nanoseconds: 0), used: 0)) { first in
        self.asked.withLock { $0.append(first) }
        return self.grants
      }
    }
  }

  private func at(_ microseconds: UInt64, used: UInt64) -> RealtimeShare.Reading {
    RealtimeShare.Reading(now: Instant(nanoseconds: microseconds * 1000), used: used * 1000)
  }

  @Test("a thread that seldom works goes first all the time, and asks for that once")
  func seldom() {
    let kernel = Kernel()
    var share = kernel.share()
    for turn in UInt64(0)..<10_000 {
      share.willWait(at(turn * 990, used: turn * 90))
      #expect(share.isFirst)
      share.didWork(at(turn * 990 + 980, used: turn * 90 + 80))
    }
    #expect(kernel.asked.withLock { $0 } == [true])
  }

  @Test("a thread that waits for a disk goes first however long that takes")
  func disk() {
    let kernel = Kernel()
    var share = kernel.share()
    for turn in UInt64(0)..<1000 {
      share.willWait(at(turn * 10_000, used: turn * 50))
      share.didWork(at(turn * 10_000 + 9_900, used: turn * 50 + 50))
      #expect(share.isFirst)
    }
  }

  @Test("a thread that is always busy goes first for a tenth of the time, and for what had come together")
  func always() {
    let kernel = Kernel()
    var share = kernel.share()
    var first: UInt64 = 0
    let end: UInt64 = 10_000_000
    for now in stride(from: UInt64(0), to: end, by: 100) {
      share.willWait(at(now, used: now))
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
    let used: UInt64 = 1_000_000
    share.willWait(at(0, used: 0))
    share.didWork(at(1_000_000, used: used))
    #expect(!share.isFirst)
    // More than 20 ms do not come together; so 980 ms are owed, and 10 ms are to be there again.
    share.willWait(at(10_890_000, used: used))
    #expect(!share.isFirst)
    share.willWait(at(10_910_000, used: used))
    #expect(share.isFirst)
  }

  @Test("a thread that may not go first does not ask again")
  func refused() {
    let kernel = Kernel(grants: false)
    var share = kernel.share()
    for now in stride(from: UInt64(0), to: 1_000_000, by: 1000) {
      share.willWait(at(now, used: 0))
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
    // What was not ordinary before is left as it is, with the children that it starts.
    try #require(policies.before == SCHED_OTHER)
    // Not everybody may.
    #expect(policies.own == (policies.answer == 0 ? SCHED_FIFO : SCHED_OTHER))
    #expect(policies.thread == SCHED_OTHER)
    #expect(policies.child == SCHED_OTHER)
    #expect(policies.grandchild == SCHED_OTHER)
    #expect(policies.after == SCHED_OTHER)
    #expect(policies.lateChild == SCHED_OTHER)
  }

  @Test(
    "a thread goes first where that keeps nobody from limiting processors by control group",
    arguments: [
      ("9:name=systemd:/\n1:cpu,cpuacct:/a\n0::/", "", true),
      ("0::/system.slice/agentd.service", "cpuset cpu io memory pids", true),
      ("0::/user.slice/user-0.slice/session-1.scope", "memory pids", false),
      ("0::/a:b", "cpuset\n", false),
      ("", "", true),
    ])
  func cgroups(_ groups: String, _ controllers: String, _ answer: Bool) {
    let isHarmless = RealtimeShare.isHarmless(cgroups: groups) { path in
      #expect(groups.hasSuffix("0::\(path)"))
      return controllers + "\n"
    }
    #expect(isHarmless == answer)
  }

  /// SCHED_RESET_ON_FORK of sched.h.
  private static let resetOnFork: Int32 = 0x4000_0000

  private struct Policies {
    var answer: Int32 = 0
    var own: Int32 = 0
    var before: Int32 = 0
    var thread: Int32 = 0
    var child: Int32 = 0
    var grandchild: Int32 = 0
    var after: Int32 = 0
    var lateChild: Int32 = 0
  }

  private static func observe() throws -> Policies {
    var policies = Policies()
    policies.before = policy(0)
    policies.answer = agentd_go_first(2)
    policies.own = policy(0)
    let done = DispatchSemaphore(value: 0)
    let thread = Mutex<Int32>(-1)
    Thread.detachNewThread {
      thread.withLock { $0 = policy(0) }
      done.signal()
    }
    done.wait()
    policies.thread = thread.withLock { $0 }
    (policies.child, policies.grandchild) = try startChild()
    // It goes first as before, which a child's start has interrupted.
    policies.own = policies.own == policy(0) ? policies.own : -1
    agentd_go_in_turn()
    policies.after = policy(0)
    (policies.lateChild, _) = try startChild()
    return policies
  }

  private static func policy(_ pid: pid_t) -> Int32 { sched_getscheduler(pid) & ~resetOnFork }

  /// The policies of a child, as soon as it was started, and of a child of that.
  private static func startChild() throws -> (Int32, Int32) {
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
    let child = policy(pid)
    var bytes = [UInt8](repeating: 0, count: 16)
    let count = read(ends.read, &bytes, bytes.count)
    let grandchild = Int32(String(decoding: bytes.prefix(max(0, count)).dropLast(), as: UTF8.self)) ?? -1
    _ = agentd_pidfd_signal(pidfd, SIGKILL)
    var status: Int32 = 0
    waitpid(pid, &status, 0)
    return (child, grandchild)
  }
}
