// The set of small numbers, against Swift's own.

import TestSupport
import Testing

@testable import Cron

@Suite("A set of values")
struct ValueSetTests {
  @Test("it answers as a set does, at both ends of its word as well")
  func sameAsASet() {
    var random = SplitMix64(seed: 11)
    for _ in 0..<300 {
      let members = Set(
        (0..<Int.random(in: 0...20, using: &random)).map { _ in Int.random(in: 0...63, using: &random) })
      var set = ValueSet()
      for member in members { set.insert(member) }
      #expect(Array(set) == members.sorted())
      #expect(set.count == members.count && set.isEmpty == members.isEmpty)
      for value in 0...64 {
        #expect(set.first(atOrAfter: value) == members.filter { $0 >= value }.min())
        #expect(set.count(below: value) == members.filter { $0 < value }.count)
        if value < 64 { #expect(set.contains(value) == members.contains(value)) }
      }
    }
  }

  @Test("a range holds its ends and what is between")
  func ranges() {
    for low in 0...63 {
      for high in low...63 { #expect(Array(ValueSet(low...high)) == Array(low...high)) }
    }
  }

  @Test("union and intersection are those of sets")
  func algebra() {
    var union = ValueSet(3...9)
    union.formUnion(ValueSet(63...63))
    #expect(Array(union) == [3, 4, 5, 6, 7, 8, 9, 63])
    union.formIntersection(ValueSet(8...63))
    #expect(Array(union) == [8, 9, 63])
  }

  @Test("weekdays repeat through the month from its first weekday on")
  func weekdays() {
    for first in 0...6 {
      for bits in 0..<128 {
        var weekdays = ValueSet()
        for weekday in 0...6 where bits & 1 << weekday != 0 { weekdays.insert(weekday) }
        let days = Array(ValueSet(repeating: weekdays, from: first)).filter { (1...31).contains($0) }
        #expect(days == (1...31).filter { weekdays.contains((first + $0 - 1) % 7) })
        #expect(!ValueSet(repeating: weekdays, from: first).contains(0))
      }
    }
  }
}
