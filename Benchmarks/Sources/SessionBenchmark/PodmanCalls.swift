// What the timing podman wrote down, and from it: the time that the daemon itself adds to a session.

import Sessions

/// The processes of podman and the ends of containers of one stretch of time. Moments are of CLOCK_MONOTONIC.
struct PodmanCalls: Sendable {
  struct Call: Sendable {
    var verb: String
    var pid: String
    var began: UInt64
    var ended: UInt64
    var names: [String]
  }

  private(set) var calls: [Call] = []
  /// By the container's name.
  private(set) var released: [String: UInt64] = [:]
  private(set) var gone: [String: UInt64] = [:]
  /// Whether the kernel has told of each call when it began and when it ended.
  private(set) var isConfirmed = true

  /// Reads what was written down; a pull is not among the calls, because it takes no place.
  ///
  /// - Parameter times: when processes began to be podman and when they ended, as the kernel has it (tools.c); nil where it
  ///   tells nobody. By its own clock a podman begins later, when it first has a processor.
  init(parsing text: Substring, times: String?) {
    for line in text.split(separator: "\n") {
      let words = line.split(separator: " ").map(String.init)
      switch words.first {
      case "call" where words.count >= 6 && words[1] != "pull":
        guard let began = UInt64(words[3]), let ended = UInt64(words[4]) else { continue }
        calls.append(
          Call(verb: words[1], pid: words[2], began: began, ended: ended, names: Array(words[6...])))
      case "envelope" where words.count == 3: released[words[1]] = UInt64(words[2])
      case "conmon" where words.count == 3: gone[words[1]] = UInt64(words[2])
      default: continue
      }
    }
    if let times { confirm(with: times) }
    calls.sort { $0.began < $1.began }
  }

  private mutating func confirm(with times: String) {
    var moments: [Substring: (began: [UInt64], ended: [UInt64])] = [:]
    // What comes after the last newline is still being written.
    for line in times[..<(times.lastIndex(of: "\n") ?? times.startIndex)].split(separator: "\n") {
      let words = line.split(separator: " ")
      guard words.count == 3, let moment = UInt64(words[2]) else { continue }
      if words[0] == "began" { moments[words[1], default: ([], [])].began.append(moment) }
      if words[0] == "ended" { moments[words[1], default: ([], [])].ended.append(moment) }
    }
    for index in calls.indices {
      let own = moments[Substring(calls[index].pid)]
      // Another process may have had the number before, and another may have it now.
      guard let began = own?.began.filter({ $0 <= calls[index].began }).max(),
        let ended = own?.ended.filter({ $0 > began }).min(), ended >= calls[index].ended
      else {
        isConfirmed = false
        continue
      }
      calls[index].began = began
      calls[index].ended = ended
    }
  }

  /// The most processes of podman at a time: the places that the gate has, once a crowd waits for them.
  var places: Int {
    var edges = calls.flatMap { [($0.began, 1), ($0.ended, -1)] }
    edges.sort { ($0.0, $0.1) < ($1.0, $1.1) }
    var running = 0
    return edges.reduce(0) { most, edge in
      running += edge.1
      return max(most, running)
    }
  }

  /// The time of each kind of call, in nanoseconds.
  func durations(of verb: String) -> [UInt64] {
    calls.filter { $0.verb == verb }.map { $0.ended - $0.began }
  }

  /// What the daemon adds to a session, in nanoseconds: all of its time but that in which
  ///
  /// - podman works for it: its launch, its removal, or the question about its image;
  /// - its container may run: from the moment in which its envelope is there to the end of its conmon;
  /// - it waits for its turn: all of podman's places are taken, or, when it is to be removed, a removal is under way.
  ///   While a place is free the time counts against the session that is served next, and against no other.
  ///
  /// nil when it was not seen from one end to the other.
  func added(to session: String, asked: UInt64, finished: UInt64, places: Int) -> Added? {
    let own = { (call: Call) in call.names.contains { $0.hasSuffix(session) } }
    guard let launch = calls.first(where: { $0.verb == "run" && own($0) }),
      let removal = calls.last(where: { $0.verb == "rm" && own($0) }),
      let name = launch.names.first, let released = released[name], let gone = gone[name],
      asked <= launch.began, launch.ended <= released, gone <= removal.ended, removal.ended <= finished
    else { return nil }
    let before = unserved(from: asked, to: launch.began, places: places) {
      $0.verb == "image" || own($0)
    }
    // Who watches conmon may read the clock after the daemon has started podman: then nothing was added there.
    let after =
      gone >= removal.began
      ? 0 : unserved(from: gone, to: removal.began, places: places, alsoWhile: "rm", isOwn: own)
    return Added(
      beforeLaunch: before, beforeRelease: released - launch.ended, beforeRemoval: after,
      beforeAnswer: finished - removal.ended)
  }

  /// What the daemon adds to a session, in nanoseconds, by where.
  struct Added: Sendable {
    /// From the request, or while nothing of podman's was in the way, to the launch.
    var beforeLaunch: UInt64
    /// From the launch to the envelope.
    var beforeRelease: UInt64
    /// From the end of conmon to the removal.
    var beforeRemoval: UInt64
    /// From the removal to the answer: the record is on the disk by then.
    var beforeAnswer: UInt64

    var sum: UInt64 { beforeLaunch + beforeRelease + beforeRemoval + beforeAnswer }
  }

  /// The time in which a place was free and the next call was one that `isOwn` picks.
  private func unserved(
    from start: UInt64, to end: UInt64, places: Int, alsoWhile verb: String? = nil, isOwn: (Call) -> Bool
  ) -> UInt64 {
    let near = calls.filter { $0.ended > start && $0.began <= end }
    let moments = Set(
      [start, end] + near.flatMap { [$0.began, $0.ended] }.filter { start < $0 && $0 < end }
    )
    .sorted()
    var sum: UInt64 = 0
    for (from, to) in zip(moments, moments.dropFirst()) {
      let running = near.filter { $0.began <= from && $0.ended >= to }
      if running.count >= places || running.contains(where: { $0.verb == verb }) { continue }
      // A question about the image is asked for all who wait for it.
      if running.contains(where: { $0.verb == "image" && isOwn($0) }) { continue }
      if let next = near.first(where: { $0.began >= to }), !isOwn(next) { continue }
      sum += to - from
    }
    return sum
  }
}
