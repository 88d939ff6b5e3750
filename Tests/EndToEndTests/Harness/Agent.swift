// What a test asks of the daemon's process from outside: threads, descriptors, children, a moment of rest.

import CSupport
import Glibc

extension Daemon {
  /// Returns when the daemon has handled everything that came to it before: a connection that says nothing is
  /// closed by the daemon only after what was there earlier. Twice, because what is handled may start more.
  func settle() throws {
    for _ in 0..<2 {
      let connection = try Connection(to: socket)
      connection.endOfRequests()
      _ = try connection.readToEnd()
    }
  }

  /// Returns when its descriptors are as they should be, or after the usual patience: what its worker lets go when it has
  /// nothing else to do is told to nobody.
  func settle(untilDescriptors areRight: ([String]) -> Bool) throws {
    let end = ContinuousClock.now + patience
    repeat { try settle() } while !areRight(descriptors()) && ContinuousClock.now < end
  }

  /// The number of its threads.
  func threads() -> Int { entries(of: "/proc/\(pid)/task").count }

  /// What its descriptors refer to, sorted.
  func descriptors() -> [String] {
    return entries(of: "/proc/\(pid)/fd").compactMap { number in
      // The numbers behind `socket:` and `pipe:` are new each time.
      linkTarget("/proc/\(pid)/fd/\(number)").map { String($0.prefix { $0 != "[" }) }
    }.sorted()
  }

  /// Its children, as `pid state`.
  func children() -> [String] {
    return entries(of: "/proc").compactMap { name in
      guard Int32(name) != nil, let stat = ProcessStatus(pid: name), stat.parent == pid else { return nil }
      return "\(name) \(stat.state)"
    }
  }

  /// How often its threads have gone to sleep so far, by thread.
  func voluntarySwitches() -> [String: Int] {
    var counts: [String: Int] = [:]
    for thread in entries(of: "/proc/\(pid)/task") {
      counts[thread] = numberInStatus("/proc/\(pid)/task/\(thread)/status", "voluntary_ctxt_switches:")
    }
    return counts
  }

  /// Its resident memory in KiB.
  func residentKiB() -> Int { numberInStatus("/proc/\(pid)/status", "VmRSS:") ?? 0 }

  /// The most resident memory it has had, in KiB.
  func peakKiB() -> Int { numberInStatus("/proc/\(pid)/status", "VmHWM:") ?? 0 }

  private func numberInStatus(_ path: String, _ name: String) -> Int? {
    let line = readText(path).split(separator: "\n").first { $0.hasPrefix(name) }
    return line.flatMap { Int($0.drop { !$0.isNumber }.prefix { $0.isNumber }) }
  }
}

/// Parent and state from /proc/PID/stat.
struct ProcessStatus {
  let state: String
  let parent: Int32
  let name: String

  init?(pid: String) {
    let text = readText("/proc/\(pid)/stat")
    // The name may hold anything, spaces and parentheses too.
    guard let open = text.firstIndex(of: "("), let close = text.lastIndex(of: ")") else { return nil }
    let fields = text[text.index(after: close)...].split(separator: " ")
    guard fields.count > 1, let parent = Int32(fields[1]) else { return nil }
    state = String(fields[0])
    self.parent = parent
    name = String(text[text.index(after: open)..<close])
  }
}
