// Sealing a record in one go, on a thread of its own, beside `chmod -R` on a tree of the same kind.

import Audit
import BenchmarkSupport
import Glibc
import Time

/// The comparison.
struct SealCost {
  static let rounds = 15

  let scratch: String
  let files: Int

  /// Prints what was seen and tells whether it is within the limit.
  func measure() throws -> Bool {
    let record = try Record.create(
      auditRoot: "\(scratch)/audit",
      metadata: Metadata(
        sessionID: "0123456789abcdef", profile: "seal", repoURL: "https://example.org/a.git",
        startTimestamp: Timestamp(nanosecondsSinceEpoch: now(CLOCK_REALTIME)), image: "none"))
    let sealed = Tree(path: record.runaPath)
    let plain = Tree(path: "\(scratch)/plain")
    try checked("mkdir", mkdir(plain.path, 0o777))
    for tree in [sealed, plain] { try tree.fill(files: files) }
    var ratios: [(wall: Double, processor: Double)] = []
    print("\(files) files, \(Self.rounds) rounds: wall and processor, in ms")
    for round in 0..<Self.rounds {
      // Both have been walked and changed a moment ago, so both are as warm.
      for tree in [sealed, plain] { try tree.chmod("u=rwX,go=rX") }
      var theirs: Tree.Cost?
      if round % 2 == 0 { theirs = try plain.chmod("a=rX") }
      let ours = try seal(record)
      let floor = try theirs ?? plain.chmod("a=rX")
      ratios.append(
        (Double(ours.wall) / Double(floor.wall), Double(ours.processor) / Double(floor.processor)))
      func words(_ cost: Tree.Cost) -> String { "\(cost.wall / 1_000_000) / \(cost.processor / 1_000_000)" }
      print("  chmod -R \(words(floor)), sealing \(words(ours))")
    }
    let (wall, processor) = (median(ratios.map(\.wall)), median(ratios.map(\.processor)))
    print(
      "  sealing to chmod -R: \(decimal(wall)) of the wall time, \(decimal(processor)) of the processor time")
    guard wall <= SealBenchmark.ratioLimit, processor <= SealBenchmark.ratioLimit else {
      SealBenchmark.complain(
        "sealing takes more than \(decimal(SealBenchmark.ratioLimit, 1)) times what chmod -R does")
      return false
    }
    return true
  }

  private func seal(_ record: Record) throws -> Tree.Cost {
    let (wall, processor) = (now(), now(CLOCK_THREAD_CPUTIME_ID))
    try Sealing(record: record).sealCompletely()
    return Tree.Cost(wall: now() - wall, processor: now(CLOCK_THREAD_CPUTIME_ID) - processor)
  }
}

func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
