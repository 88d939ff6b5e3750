// A set of small numbers in one machine word: the values a cron field matches.

/// A set of numbers from 0 to 63.
struct ValueSet: Sendable, Equatable {
  /// Bit n is set when n is a member.
  private(set) var bits: UInt64 = 0

  init() {}

  init(_ range: ClosedRange<Int>) {
    for value in range { insert(value) }
  }

  var isEmpty: Bool { bits == 0 }

  func contains(_ value: Int) -> Bool { bits & (1 << UInt64(value)) != 0 }

  mutating func insert(_ value: Int) { bits |= 1 << UInt64(value) }

  mutating func formUnion(_ other: ValueSet) { bits |= other.bits }

  mutating func formIntersection(_ other: ValueSet) { bits &= other.bits }

  /// The members, lowest first.
  var members: [Int] { (0..<64).filter(contains) }
}
