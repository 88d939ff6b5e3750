// The calendar, against glibc's and against the rule of the Gregorian leap years.

import Glibc
import Testing
import Time

@Suite("CivilDate")
struct CivilDateTests {
  @Test(
    "the days of four thousand years follow one another as the calendar has them, and count back to themselves"
  )
  func everyDay() {
    var day = CivilDate(year: -1000, month: 1, day: 1)?.daysSinceEpoch ?? 0
    for year in Int64(-1000)...3000 {
      let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
      for (month, length) in [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].enumerated() {
        // The first and the last day say it for those between, which are counted on from the first.
        for number in [1, Int64(length)] {
          let date = CivilDate(daysSinceEpoch: day + number - 1)
          guard date.year == year, date.month == Int64(month + 1), date.day == number,
            date.daysSinceEpoch == day + number - 1,
            CivilDate(year: year, month: date.month, day: number) == date
          else {
            Issue.record("day \(day + number - 1) became \(date)")
            return
          }
        }
        #expect(CivilDate(year: year, month: Int64(month + 1), day: Int64(length + 1)) == nil)
        day += Int64(length)
      }
    }
  }

  @Test("glibc names the days in the same way")
  func sameAsGlibc() {
    for day in stride(from: Int64(-400_000), through: 400_000, by: 13) {
      var second = time_t(day * 86_400)
      var fields = tm()
      gmtime_r(&second, &fields)
      let date = CivilDate(daysSinceEpoch: day)
      guard
        [date.year, date.month, date.day]
          == [Int64(fields.tm_year) + 1900, Int64(fields.tm_mon) + 1, Int64(fields.tm_mday)]
      else {
        Issue.record("day \(day) became \(date)")
        return
      }
    }
  }

  @Test("the epoch is day 0, and a month has a first day")
  func knownDays() {
    #expect(CivilDate(daysSinceEpoch: 0) == CivilDate(year: 1970, month: 1, day: 1))
    #expect(CivilDate(firstOf: 3, in: 2000).daysSinceEpoch == 11_017)
    #expect(CivilDate(firstOf: 3, in: 1970).daysSinceEpoch == 59)
    #expect(CivilDate(daysSinceEpoch: -1) == CivilDate(year: 1969, month: 12, day: 31))
  }

  @Test(
    "a day that the calendar lacks has no name",
    arguments: [
      [2026, 2, 29], [2100, 2, 29], [2026, 4, 31], [2026, 13, 1], [2026, 0, 1], [2026, 1, 0], [2026, 1, 32],
    ]
      as [[Int64]])
  func missingDays(date: [Int64]) {
    #expect(CivilDate(year: date[0], month: date[1], day: date[2]) == nil)
  }

  @Test("a division rounds down and leaves a remainder that is never negative")
  func division() {
    for value in Int64(-50)...50 {
      let (quotient, remainder) = flooredDivision(value, 7)
      #expect(quotient * 7 + remainder == value && (0..<7).contains(remainder))
    }
    #expect(flooredDivision(.min, 1) == (.min, 0))
  }
}
