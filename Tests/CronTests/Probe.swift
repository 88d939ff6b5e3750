// An expression with what it means, and the comparison of what it does with what the clock on the wall says.

import Testing
import Time

@testable import Cron

/// An expression that says of itself what it matches, so that nobody has to read its text.
struct Probe {
  let text: String
  let minutes: [Int]
  let hours: [Int]
  /// Whether `*` or a step is in minute or hour.
  let goesByTheClock: Bool
  let matches: (LocalClock.Day) -> Bool

  init(
    _ text: String, minutes: [Int], hours: [Int], goesByTheClock: Bool = false,
    matches: @escaping (LocalClock.Day) -> Bool = { _ in true }
  ) {
    (self.text, self.minutes, self.hours) = (text, minutes, hours)
    (self.goesByTheClock, self.matches) = (goesByTheClock, matches)
  }
}

extension Probe {
  /// Compares all occurrences in a range, one after the other and counted, with those that the oracle sees.
  ///
  /// - Returns: how many there are.
  func check(_ zone: Zone, against clock: LocalClock, in range: ClosedRange<Int64>) throws -> Int {
    let expression = try CronExpression(text)
    let expected = clock.runs(of: self, in: range)
    let found = expression.occurrences(in: range, of: zone)
    let (before, last) = (range.lowerBound - 1, range.upperBound)
    let count = expression.count(
      after: Timestamp(secondsSinceEpoch: before), through: Timestamp(secondsSinceEpoch: last), in: zone)
    try #require(found == expected && count == expected.count, "\(text) in \(zone.name), \(range)")
    return expected.count
  }
}

extension CronExpression {
  /// What `next` gives one after the other, in seconds. It ends when `next` does not go forward.
  func occurrences(in range: ClosedRange<Int64>, of zone: Zone) -> [Int64] {
    var found: [Int64] = []
    var last = Timestamp(secondsSinceEpoch: range.lowerBound - 1)
    while let next = next(after: last, in: zone), next > last, next.secondsSinceEpoch <= range.upperBound {
      found.append(next.secondsSinceEpoch)
      last = next
    }
    return found
  }
}
