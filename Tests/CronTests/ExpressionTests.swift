// What a cron expression accepts and which values it then matches.

import Testing

@testable import Cron

@Suite("A cron expression")
struct ExpressionTests {
  @Test("takes lists, ranges, steps and * in every field")
  func plainFields() throws {
    let expression = try CronExpression("*/15 1-5,22 1,10-20/5 2-4 1-5/2")
    #expect(Array(expression.minutes) == [0, 15, 30, 45])
    #expect(Array(expression.hours) == [1, 2, 3, 4, 5, 22])
    #expect(Array(expression.daysOfMonth.listed) == [1, 10, 15, 20])
    #expect(Array(expression.months) == [2, 3, 4])
    #expect(Array(expression.daysOfWeek.every) == [1, 3, 5])
  }

  @Test("keeps the text as it was written")
  func keepsText() throws {
    #expect(try CronExpression("@daily").text == "@daily")
    #expect(try CronExpression(" 0  0\t* * *").description == " 0  0\t* * *")
  }

  @Test("* matches every value of its field")
  func stars() throws {
    let expression = try CronExpression("* * * * *")
    #expect(Array(expression.minutes) == Array(0...59))
    #expect(Array(expression.hours) == Array(0...23))
    #expect(Array(expression.daysOfMonth.listed) == Array(1...31))
    #expect(Array(expression.months) == Array(1...12))
    #expect(Array(expression.daysOfWeek.every) == Array(0...6))
  }

  @Test("takes names in any case, alone, in lists and in ranges")
  func names() throws {
    let expression = try CronExpression("0 0 * jan,Mar-MAY mon,WED-fri")
    #expect(Array(expression.months) == [1, 3, 4, 5])
    #expect(Array(expression.daysOfWeek.every) == [1, 3, 4, 5])
  }

  @Test(
    "takes 7 for Sunday",
    arguments: [("7", [0]), ("0", [0]), ("0,7", [0]), ("5-7", [0, 5, 6]), ("1-7/2", [0, 1, 3, 5])])
  func sevenIsSunday(field: String, weekdays: [Int]) throws {
    #expect(Array(try CronExpression("0 0 * * \(field)").daysOfWeek.every) == weekdays)
  }

  @Test(
    "a range of weekdays may end on Sunday",
    arguments: [("FRI-SUN", [0, 5, 6]), ("SUN-TUE", [0, 1, 2]), ("SUN-SUN", [0]), ("SAT-sun", [0, 6])])
  func sundayEndsARange(field: String, weekdays: [Int]) throws {
    #expect(Array(try CronExpression("0 0 * * \(field)").daysOfWeek.every) == weekdays)
  }

  @Test(
    "takes the macros in any case",
    arguments: [
      ("@hourly", "0 * * * *"), ("@daily", "0 0 * * *"), ("@midnight", "0 0 * * *"),
      ("@weekly", "0 0 * * 0"), ("@monthly", "0 0 1 * *"), ("@yearly", "0 0 1 1 *"),
      ("@annually", "0 0 1 1 *"), ("@Daily", "0 0 * * *"),
    ])
  func macros(macro: String, fields: String) throws {
    let left = try CronExpression(macro)
    let right = try CronExpression(fields)
    #expect(left.minutes == right.minutes)
    #expect(left.hours == right.hours)
    #expect(left.daysOfMonth == right.daysOfMonth)
    #expect(left.months == right.months)
    #expect(left.daysOfWeek == right.daysOfWeek)
  }

  @Test(
    "refuses what no field could mean, and names the field and what it expects",
    arguments: [
      ("60 * * * *", "minute \"60\" is out of range: expected 0 to 59"),
      ("* 24 * * *", "hour \"24\" is out of range: expected 0 to 23"),
      ("* * 0 * *", "day-of-month \"0\" is out of range: expected 1 to 31,"),
      ("* * 32 * *", "day-of-month \"32\" is out of range"),
      ("* * * 13 *", "month \"13\" is out of range: expected 1 to 12 or JAN to DEC"),
      ("* * * * 8", "day-of-week \"8\" is out of range: expected 0 to 7"),
      ("x * * * *", "minute \"X\" is not a value: expected 0 to 59"),
      ("-1 * * * *", "minute \"-1\" is not a value"),
      ("+1 * * * *", "minute \"+1\" is not a value"),
      ("1.5 * * * *", "minute \"1.5\" is not a value"),
      ("99999999999999999999 * * * *", "minute"),
      ("1, * * * *", "minute \"1,\" has an empty place"),
      (",1 * * * *", "minute \",1\" has an empty place"),
      ("1,,2 * * * *", "minute \"1,,2\" has an empty place"),
      ("5-1 * * * *", "minute \"5-1\" runs backwards"),
      ("* 22-2 * * *", "hour \"22-2\" runs backwards"),
      ("1-2-3 * * * *", "minute \"1-2-3\" is not a range"),
      ("1- * * * *", "minute \"1-\" is not a value"),
      ("*-5 * * * *", "minute \"*-5\" is not a value"),
      ("*/0 * * * *", "minute \"*/0\" needs a step from 1 to 60"),
      ("*/61 * * * *", "minute \"*/61\" needs a step from 1 to 60"),
      ("*/ * * * *", "minute \"*/\" needs a step"),
      ("/5 * * * *", "minute \"/5\" steps from a single value"),
      ("5/15 * * * *", "minute \"5/15\" steps from a single value"),
      ("*/2/3 * * * *", "minute \"*/2/3\" has more than one step"),
      ("MON * * * *", "minute \"MON\" is not a value"),
      ("* * * MON *", "month \"MON\" is not a value"),
      ("* * * * JAN", "day-of-week \"JAN\" is not a value"),
      ("* * * * MONDAY", "day-of-week \"MONDAY\" is not a value"),
      ("* * ? * *", "day-of-month \"?\" is not a value"),
      ("L * * * *", "minute \"L\" is not a value"),
      ("* * * L *", "month \"L\" is not a value"),
      ("* 5W * * *", "hour \"5W\" is not a value"),
      ("* * W * *", "day-of-month \"W\" is not a nearest weekday"),
      ("* * 0W * *", "day-of-month \"0W\" is not a nearest weekday"),
      ("* * 32W * *", "day-of-month \"32W\" is not a nearest weekday"),
      ("* * 1-5W * *", "day-of-month \"1-5W\" is not a nearest weekday"),
      ("* * L-3 * *", "day-of-month \"L-3\" is not a value"),
      ("* * 5#2 * *", "day-of-month \"5#2\" is not a value"),
      ("* * * * L", "day-of-week \"L\" needs a weekday"),
      ("* * * * #2", "day-of-week \"#2\" needs a weekday"),
      ("* * * * *#2", "day-of-week \"*#2\" needs a weekday"),
      ("* * * * 5#0", "day-of-week \"5#0\" needs a number from 1 to 5"),
      ("* * * * 5#6", "day-of-week \"5#6\" needs a number from 1 to 5"),
      ("* * * * 5#", "day-of-week \"5#\" needs a number from 1 to 5"),
      ("* * * * 5#2#3", "day-of-week \"5#2#3\" is not a value"),
      ("* * * * 8L", "day-of-week \"8\" is out of range"),
      ("* * * * 15W", "day-of-week \"15W\" is not a value"),
    ])
  func refusals(text: String, start: String) {
    #expect(throws: CronError.self) { try CronExpression(text) }
    #expect(message(text).hasPrefix(start), "\(message(text))")
  }

  @Test(
    "refuses seconds, years, too few fields, unknown macros and texts that are none",
    arguments: [
      ("0 0 0 * * *", "has 6 fields, but seconds and years are not supported"),
      ("0 0 0 * * * 2030", "has 7 fields, but seconds and years are not supported"),
      ("0 0 * *", "has 4 fields: write five, minute hour day-of-month month day-of-week"),
      ("5", "has 1 field: write five"),
      ("* * * * * * * *", "has 8 fields"),
      ("", "has 0 fields"),
      ("  ", "has 0 fields"),
      ("@reboot", "\"@reboot\" is not a macro: expected one of @annually, @daily"),
      ("@daily *", "has 2 fields"),
      ("0 0 * *\n*", "holds a character that is not printable ASCII"),
      ("0 0 * * \u{301}", "holds a character that is not printable ASCII"),
      (String(repeating: "1,", count: 600), "is longer than 1024 bytes"),
    ])
  func refusedShapes(text: String, start: String) {
    #expect(throws: CronError.self) { try CronExpression(text) }
    #expect(message(text).hasPrefix(start), "\(message(text))")
  }

  @Test("tells of every wrong field at once")
  func allFieldsAtOnce() {
    do {
      _ = try CronExpression("60 24 32 13 8")
      Issue.record("it was accepted")
    } catch {
      #expect(error.problems.map(\.field) == [.minute, .hour, .dayOfMonth, .month, .dayOfWeek])
    }
  }

  private func message(_ text: String) -> String {
    do {
      _ = try CronExpression(text)
      return "accepted"
    } catch {
      return error.description
    }
  }
}
