// Which days of a month the two day fields match, and which expressions can never fire.

import Testing

@testable import Cron

@Suite("The days of a cron expression")
struct DayTests {
  // November 2026: 30 days, the first a Sunday. August 2026: 31 days, the first a Saturday.
  private let november = MonthShape(month: 11, length: 30, firstWeekday: 0)
  private let august = MonthShape(month: 8, length: 31, firstWeekday: 6)
  // February 2026: 28 days, the first a Sunday. February 2032: 29 days, the first a Sunday.
  private let february = MonthShape(month: 2, length: 28, firstWeekday: 0)
  private let leapFebruary = MonthShape(month: 2, length: 29, firstWeekday: 0)
  // May 2026: 31 days, the first a Friday, the last a Sunday.
  private let may = MonthShape(month: 5, length: 31, firstWeekday: 5)

  private func days(_ fields: String, _ month: MonthShape) throws -> [Int] {
    Array(try CronExpression("0 0 \(fields)").days(in: month))
  }

  @Test("L is the last day of the month, however long it is")
  func lastDay() throws {
    #expect(try days("L * *", november) == [30])
    #expect(try days("L * *", february) == [28])
    #expect(try days("l * *", leapFebruary) == [29])
    #expect(try days("1,L * *", august) == [1, 31])
  }

  @Test("LW is the last Monday to Friday of the month")
  func lastWeekday() throws {
    #expect(try days("LW * *", november) == [30])
    #expect(try days("LW * *", february) == [27])
    #expect(try days("lw * *", may) == [29])
  }

  @Test("15W is the weekday nearest to the 15th")
  func nearestWeekday() throws {
    #expect(try days("15W * *", november) == [16], "a Sunday goes to Monday")
    #expect(try days("15W * *", august) == [14], "a Saturday goes to Friday")
    #expect(try days("16W * *", november) == [16], "a weekday stays")
    #expect(try days("1W,15w * *", november) == [2, 16])
  }

  @Test("the nearest weekday never leaves the month, and a day the month lacks has none")
  func nearestWeekdayStaysInTheMonth() throws {
    #expect(try days("1W * *", august) == [3], "Saturday the 1st goes to Monday the 3rd")
    #expect(try days("31W * *", may) == [29], "Sunday the 31st goes to Friday the 29th")
    #expect(try days("31W * *", november) == [])
  }

  @Test("5#2 is the second Friday, and a range may stand in front")
  func nthWeekday() throws {
    #expect(try days("* * 5#2", november) == [13])
    #expect(try days("* * fri#2", november) == [13])
    #expect(try days("* * 7#1", november) == [1])
    #expect(try days("* * MON-FRI#2", november) == [9, 10, 11, 12, 13])
    #expect(try days("* * 1#5", november) == [30])
    #expect(try days("* * 2#5", november) == [])
    #expect(try days("* * 1#1,3#3", november) == [2, 18])
  }

  @Test("5L and 5#L are the last Friday")
  func lastOfAWeekday() throws {
    #expect(try days("* * 5L", november) == [27])
    #expect(try days("* * fril", november) == [27])
    #expect(try days("* * FRI#L", november) == [27])
    #expect(try days("* * 1L", november) == [30])
    #expect(try days("* * 5-6#L", november) == [27, 28])
    #expect(try days("* * SUNL,5#1", november) == [6, 29])
  }

  @Test("both day fields restricted: either matches")
  func eitherDayField() throws {
    #expect(try days("13 * FRI", november) == [6, 13, 20, 27])
    #expect(try days("1 * FRI", november) == [1, 6, 13, 20, 27])
    #expect(try days("L * 5#2", november) == [13, 30])
  }

  @Test("a day field that begins with * leaves the choice to the other")
  func starredDayField() throws {
    #expect(try days("13 * *", november) == [13])
    #expect(try days("* * FRI", november) == [6, 13, 20, 27])
    #expect(try days("*/2 * FRI", november) == [13, 27], "crontab(5): not restricted, so both have to match")
    #expect(try days("13 * */5", november) == [13], "13 November is a Friday")
  }

  @Test("a month that is not named has no days")
  func otherMonths() throws {
    #expect(try days("* 12 *", november) == [])
  }

  @Test(
    "an expression that can never fire is refused with the reason",
    arguments: [
      "0 0 31 2 *", "0 0 30 2 *", "0 0 30,31 2 *", "0 0 31 4,6 *", "0 0 31 4,6,9,11 *", "0 0 31 FEB-FEB *",
      "0 0 31W 2 *", "0 0 30W 2 *", "0 0 31W 4 *", "0 0 */31 * 5#2", "0 0 31 2 */2", "0 0 */31 * 1L",
    ])
  func neverFires(text: String) {
    do {
      _ = try CronExpression(text)
      Issue.record("\(text) was accepted")
    } catch {
      #expect(error.description.hasPrefix("can never fire: month \""), "\(error)")
    }
  }

  @Test("the reason names the fields that do not meet")
  func reason() {
    do {
      _ = try CronExpression("0 0 31 2 *")
      Issue.record("it was accepted")
    } catch {
      #expect(
        error.description
          == "can never fire: month \"2\" has no day that matches day-of-month \"31\"; change one of them")
    }
  }

  @Test(
    "an expression that fires seldom is accepted",
    arguments: [
      "0 0 29 2 *", "0 0 31 2 MON", "0 0 31 1,2 *", "0 0 29W 2 *", "0 0 * 2 1#5", "0 0 * * 5#5", "0 0 L 2 *",
      "0 0 LW 2 *", "0 0 31 2,3 *", "0 0 */28 2 0#5", "0 0 */28 2 1L", "0 0 31 2 0-7",
    ])
  func firesSeldom(text: String) {
    #expect(throws: Never.self) { try CronExpression(text) }
  }

  @Test("the months looked at are those that a Gregorian calendar has, no more and no fewer")
  func everyMonthShape() {
    // 1 January 2000 was a Saturday, and the calendar repeats after 400 years.
    var weekday = 6
    var seen: [[Int]] = []
    for year in 2000..<2400 {
      let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
      let lengths = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
      for (index, length) in lengths.enumerated() {
        seen.append([index + 1, length, weekday])
        weekday = (weekday + length) % 7
      }
    }
    #expect(weekday == 6)
    let expected = MonthShape.all.map { [$0.month, $0.length, $0.firstWeekday] }
    #expect(Set(seen) == Set(expected))
    #expect(expected.count == 13 * 7)
  }

  @Test("no text of the expression's own letters makes the parser crash")
  func noise() {
    let letters = Array("0123456789*,-/#LW @MONJAFRI \t")
    var state: UInt64 = 1
    func next(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
    var accepted = 0
    for _ in 0..<20_000 {
      let fields = (0..<5).map { _ in
        next(2) == 0 ? "*" : String((0...next(6)).map { _ in letters[next(letters.count)] })
      }
      if (try? CronExpression(fields.joined(separator: " "))) != nil { accepted += 1 }
    }
    #expect(accepted > 100)
  }
}
