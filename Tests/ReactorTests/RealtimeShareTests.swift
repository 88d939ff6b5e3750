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
  /// A thread that is told how much it works and waits, in microseconds, and what its share has asked the kernel for.
  private final class Machine: Sendable {
    private struct State {
      var now: UInt64 = 0
      var used: UInt64 = 0
      var readings = 0
      var asked: [Bool] = []
    }

    private let state = Mutex(State())
    let grants: Bool
    init(grants: Bool = true) { self.grants = grants }

    var asked: [Bool] { state.withLock { $0.asked } }
    /// How often the thread's own time was asked for, which takes a system call.
    var readings: Int { state.withLock { $0.readings } }

    func work(_ microseconds: UInt64) {
      state.withLock {
        $0.now += microseconds * 1000
        $0.used += microseconds * 1000
      }
    }

    func wait(_ microseconds: UInt64) { state.withLock { $0.now += microseconds * 1000 } }

    func share() -> RealtimeShare {
      let clocks = RealtimeShare.Clocks(
        now: { self.state.withLock { $0.now } },
        used: {
          self.state.withLock {
            $0.readings += 1
            return $0.used
          }
        })
      return RealtimeShare(clocks) { first in
        self.state.withLock { $0.asked.append(first) }
        return self.grants
      }
    }
  }

  @Test("a thread that seldom works goes first all the time, and asks for that once")
  func seldom() {
    let machine = Machine()
    var share = machine.share()
    for _ in 0..<10_000 {
      share.renew()
      #expect(share.isFirst)
      machine.wait(900)
      machine.work(90)
      share.charge()
    }
    #expect(machine.asked == [true])
    // Ten seconds, of which 20 ms can pass without a look.
    #expect(machine.readings < 600)
  }

  @Test("a thread that waits for a disk goes first however long that takes")
  func disk() {
    let machine = Machine()
    var share = machine.share()
    for _ in 0..<1000 {
      share.renew()
      machine.work(50)
      machine.wait(9_900)
      share.charge()
      #expect(share.isFirst)
    }
  }

  @Test("a thread that is always busy goes first for a tenth of the time, and for what had come together")
  func always() {
    let machine = Machine()
    var share = machine.share()
    var first: UInt64 = 0
    let turns: UInt64 = 100_000
    for _ in 0..<turns {
      share.renew()
      if share.isFirst { first += 100 }
      machine.work(100)
    }
    let end = turns * 100
    let limit = UInt64(RealtimeShare.limit) / 1000
    #expect(first <= end / 10 + limit + 100)
    #expect(first >= end / 10 - limit)
    #expect(machine.asked.count > 10)
    // By turns, and never twice the same.
    #expect(zip(machine.asked, machine.asked.dropFirst()).allSatisfy { $0 != $1 })
  }

  @Test("one long stretch is paid for before the thread goes first again")
  func long() {
    let machine = Machine()
    var share = machine.share()
    share.renew()
    machine.work(1_000_000)
    share.charge()
    #expect(!share.isFirst)
    // More than 20 ms do not come together; so 980 ms are owed, and 10 ms are to be there again.
    machine.wait(9_890_000)
    share.renew()
    #expect(!share.isFirst)
    machine.wait(20_000)
    share.renew()
    #expect(share.isFirst)
  }

  @Test("a thread that may not go first does not ask again")
  func refused() {
    let machine = Machine(grants: false)
    var share = machine.share()
    for _ in 0..<1000 {
      share.renew()
      machine.wait(1000)
    }
    #expect(!share.isFirst)
    #expect(machine.asked == [true])
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
    // What a child takes first is its maker's to pay for.
    #expect(policies.hasPaid == (policies.answer == 0))
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
    var hasPaid = false
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
    // Asked first, so that it is the smaller one unless the child's time is in it.
    let time = agentd_thread_time()
    var own = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &own)
    policies.hasPaid = time > UInt64(own.tv_sec) * 1_000_000_000 + UInt64(own.tv_nsec)
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
