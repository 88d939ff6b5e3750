// A set of small numbers in one machine word: the values a cron field matches.

/// A set of numbers from 0 to 63, which gives them lowest first.
struct ValueSet: Sendable, Equatable, Sequence {
  /// Bit n is set when n is a member.
  private(set) var bits: UInt64 = 0

  init() {}

  init(_ range: ClosedRange<Int>) {
    bits = (.max << UInt64(range.lowerBound)) & (.max >> UInt64(63 - range.upperBound))
  }

  /// Days from 1 on, at least 31 of them, of which those match whose weekday does.
  ///
  /// - Parameters:
  ///   - weekdays: members of 0 to 6.
  ///   - first: the weekday of day 1.
  init(repeating weekdays: ValueSet, from first: Int) {
    // Six weeks in a row, from bit 0 on.
    let weeks = weekdays.bits * 0x8_1020_4081
    bits = (weeks >> UInt64(first)) << 1
  }

  var isEmpty: Bool { bits == 0 }

  var count: Int { bits.nonzeroBitCount }

  func contains(_ value: Int) -> Bool { bits & (1 << UInt64(value)) != 0 }

  mutating func insert(_ value: Int) { bits |= 1 << UInt64(value) }

  mutating func formUnion(_ other: ValueSet) { bits |= other.bits }

  mutating func formIntersection(_ other: ValueSet) { bits &= other.bits }

  /// The lowest member that is at least `value`.
  func first(atOrAfter value: Int) -> Int? {
    // A shift by 64 or more is 0 in Swift.
    let rest = bits & (UInt64.max << UInt64(value))
    return rest == 0 ? nil : rest.trailingZeroBitCount
  }

  /// How many members are less than `value`.
  func count(below value: Int) -> Int { (bits & ~(UInt64.max << UInt64(value))).nonzeroBitCount }

  struct Iterator: IteratorProtocol {
    fileprivate var rest: UInt64

    mutating func next() -> Int? {
      guard rest != 0 else { return nil }
      defer { rest &= rest - 1 }
      return rest.trailingZeroBitCount
    }
  }

  func makeIterator() -> Iterator { Iterator(rest: bits) }
}
