// What it costs to read an expression and to find when it fires next.

import Cron
import BenchmarkSupport
import Time

struct ExpressionCost {
  /// No expression may take longer than this, to read or to find its next occurrence.
  static let limit: Int64 = 1_000_000

  let zones: [Zone]
  let start: Timestamp

  /// Prints both tables.
  ///
  /// - Returns: what is over the limit, in words; nil when nothing is.
  func measure() throws -> String? {
    try printSingle()
    return try printSample()
  }

  private func printSingle() throws {
    let rows = try [
      ("every minute", "* * * * *"), ("typical", "30 2 * * 1-5"), ("every form", everyForm),
      ("the rarest", "0 0 29 2 */7"),
    ].map { name, text in
      let expression = try CronExpression(text)
      let parse = try leastTimeOfShort { consume(try CronExpression(text)) }
      let next = zones.prefix(2).map { zone in
        leastTimeOfShort { consume(expression.next(after: start, in: zone)) }
      }
      return ["\(name): \(text)"] + ([parse] + next).map { inWords(nanoseconds: $0) }
    }
    printTable(["one expression", "parse"] + zones.prefix(2).map { "next, \($0.name)" }, rows)
  }

  private var everyForm: String {
    "0-10/2,30,45 0,6-8,20-22/2 1,LW,15W,20-25 JAN,3-5,SEP-DEC MON,WED-FRI/2,6L,2#3"
  }
}

extension ExpressionCost {
  /// One call and what it took.
  private struct Call {
    let nanoseconds: Int64
    let text: String
  }

  /// Lists as long as an expression may be, read or refused at the end of it.
  private var longest: [String] {
    ["0,", "0-59/59,", "*/7,", "x,", "59", "-"].flatMap { element in
      let room = CronExpression.textByteLimit - 10
      let list = String(repeating: element, count: room / element.utf8.count)
      return ["\(list)0 * * * *", "0 0 \(list)1W * *", "0 0 * * \(list)1#L", "\(list)"]
    }
  }

  /// Expressions from a seed, in all zones, from moments all over what the zones know.
  private func printSample() throws -> String? {
    var dice = Dice(seed: 2026)
    let expressions = dice.expressions(2000)
    var parses: [Call] = []
    var nexts: [Call] = []
    // Also what is refused, for the length of an answer to the operator.
    for text in expressions.map(\.text) + longest {
      let parse = leastTime(of: 5) { consume(try? CronExpression(text)) }
      parses.append(Call(nanoseconds: parse, text: "\(text.prefix(100)) (\(text.utf8.count) bytes)"))
    }
    for expression in expressions {
      for zone in zones {
        let years = dice.pick([0, 1, 10, 24, 40])
        let moment = start + .seconds(years * 31_556_952 + dice.number(0, 31_556_952))
        let next = leastTime(of: 5) { consume(expression.next(after: moment, in: zone)) }
        nexts.append(Call(nanoseconds: next, text: "\(expression.text) in \(zone.name) after \(moment)"))
      }
    }
    let samples = [("parse", parses), ("find", nexts)].map { name, calls in
      (name, calls.sorted { $0.nanoseconds < $1.nanoseconds })
    }
    let rows = samples.map { name, calls in
      let places = [calls.count / 2, calls.count * 99 / 100, calls.count - 1]
      return [name, "\(calls.count)"] + places.map { inWords(nanoseconds: calls[$0].nanoseconds) }
    }
    printTable(["a sample", "calls", "median", "p99", "max"], rows)
    for (name, calls) in samples {
      print("slowest to \(name): \(calls[calls.count - 1].text)")
    }
    let slowest = samples.map { $0.1[$0.1.count - 1] }.first { $0.nanoseconds > Self.limit }
    return slowest.map {
      "\($0.text) takes \(inWords(nanoseconds: $0.nanoseconds)); no expression may take more than 1 ms"
    }
  }
}
