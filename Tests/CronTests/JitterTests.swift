// How the delays that jitter draws are spread: what hundreds of profiles with one expression are kept apart by.

import TestSupport
import Testing
import Time

@testable import Cron

@Suite("The delays of jitter")
struct JitterTests {
  private static let start = Timestamp(secondsSinceEpoch: seconds("2026-03-30T00:30:00Z"))
  private static let jitter: Duration = .seconds(600)
  private static let count = 6000

  /// The delays of the next hours, one after the other.
  private func delays(name: String, count: Int = count) throws -> [Duration] {
    let schedule = Schedule(
      name: name, expression: try CronExpression("@hourly"), zone: .utc, jitter: Self.jitter)
    return Array(
      sequence(state: Self.start) { moment in
        guard let next = schedule.next(after: moment) else { return nil }
        moment = next.moment
        return next.due - next.moment
      }.prefix(count))
  }

  @Test("they are what FNV-1a of the name and SplitMix64's mixing make of a moment")
  func known() throws {
    // Computed apart from this code.
    let expected: [Duration] = [.milliseconds(342_990), .milliseconds(341_688), .milliseconds(131_513)]
    #expect(try delays(name: "nightly", count: 3) == expected)
  }

  @Test("they spread evenly, over the moments of one name and over the names of one moment")
  func uniform() throws {
    let ofOneName = try delays(name: "spread")
    let ofOneMoment = try (0..<Self.count).flatMap { try delays(name: "profile-\($0)", count: 1) }
    for delays in [ofOneName, ofOneMoment] {
      var counts = [Int](repeating: 0, count: 60)
      for delay in delays { counts[Int(delay / .seconds(10))] += 1 }
      let chiSquare = counts.map { Double(($0 - 100) * ($0 - 100)) / 100 }.reduce(0, +)
      // With 59 degrees of freedom chance alone is outside of this once in a thousand times, to each side.
      #expect(chiSquare < 98.3 && chiSquare > 30.3, "\(chiSquare)")
    }
  }

  @Test("those of neighbouring moments, and of two names, have nothing to do with each other")
  func uncorrelated() throws {
    let one = try delays(name: "nightly-1").map { $0 / .seconds(1) - 299.9995 }
    let other = try delays(name: "nightly-2").map { $0 / .seconds(1) - 299.9995 }
    let alone = one.map { $0 * $0 }.reduce(0, +)
    for together in [zip(one, one.dropFirst()).map { $0 * $1 }, zip(one, other).map { $0 * $1 }] {
      // Within four standard errors of none.
      #expect(abs(together.reduce(0, +) / alone) < 4 / Double(Self.count).squareRoot())
    }
  }
}
