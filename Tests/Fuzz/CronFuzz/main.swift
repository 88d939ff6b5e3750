// A fuzz target: the bytes are a cron expression, and whatever they are, what must always hold does hold.

import Cron
import Time

/// The main function of libFuzzer, under a name that leaves `main` to this file.
@_silgen_name("LLVMFuzzerRunDriver")
func runFuzzer(
  _ argumentCount: UnsafeMutablePointer<CInt>,
  _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
  _ test: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

/// What holds for the input. A failure ends the process with a line that names the input and what is wrong with it.
struct Invariants {
  let text: String

  func require(_ condition: Bool, _ claim: @autoclosure () -> String) {
    if !condition { fatalError("\(text.debugDescription): \(claim())") }
  }

  func check() {
    do {
      let expression = try CronExpression(text)
      require(expression.text == text, "the text is not kept")
      require((try? CronExpression(expression.text)) == expression, "reads as something else again")
      for zone in zones { for start in starts { check(expression, in: zone, after: start) } }
    } catch {
      check(error)
    }
  }

  /// A few occurrences in a row, which counting has to find as well.
  private func check(_ expression: CronExpression, in zone: Zone, after start: Timestamp) {
    let place = "in \(zone.name) after \(start)"
    var moment = start
    for number in 1...5 {
      guard let next = expression.next(after: moment, in: zone) else {
        let rest = expression.count(after: moment, through: zone.end, in: zone)
        require(rest == 0, "\(rest) are counted \(place) and not found after \(moment)")
        return
      }
      require(next > moment && next < zone.end, "\(next) follows \(moment) \(place)")
      require(expression.next(atOrAfter: next, in: zone) == next, "\(next) is not found at itself \(place)")
      let count = expression.count(after: start, through: next, in: zone)
      require(count == number, "\(count) are counted \(place) through \(next), which is number \(number)")
      let before = expression.count(after: start, through: next - .nanoseconds(1), in: zone)
      require(
        before == number - 1, "\(before) are counted \(place) before \(next), which is number \(number)")
      moment = next
    }
  }

  private func check(_ error: CronError) {
    require(!error.problems.isEmpty, "is refused without a reason")
    let message = error.description
    require(message.utf8.allSatisfy { (0x20...0x7e).contains($0) }, "the message is not printable ASCII")
    // The text is quoted once, and there are five fields to say something about.
    require(message.utf8.count <= CronExpression.textByteLimit + 5 * 200, "the message is too long")
  }
}

/// Midnight between 1969 and 1970, around the changes of the zones below, and where leap days are rare.
let starts = [
  -86_400 * 400, -1, 0, 1_000_000_000, 1_774_746_000, 1_792_893_600, 1_798_761_599, 3_981_225_600,
].map { Timestamp(secondsSinceEpoch: $0) }

/// An hour left out and shown twice, half an hour, a whole day, seconds, and changes an hour apart.
let zones: [Zone] = {
  let end = Timestamp(secondsSinceEpoch: 4_200_000_000)
  func zone(_ name: String, _ offset: Int64, _ transitions: [(Int64, Int64)]) -> Zone {
    Zone(
      name: name, offset: offset,
      transitions: transitions.map { Zone.Transition(second: $0, offset: $1) }, end: end)
  }
  return [
    .utc,
    zone("Summer", 3600, [(1_774_746_000, 7200), (1_792_893_600, 3600), (1_806_195_600, 7200)]),
    zone("HalfHour", 37_800, [(1_774_746_000, 39_600), (1_792_893_600, 37_800)]),
    zone("DateLine", -36_000, [(1_774_746_000, 50_400), (1_792_893_600, -36_000)]),
    zone("Seconds", -4027, [(0, 0), (1_774_746_000, 4027), (1_792_893_600, -1)]),
    zone(
      "Restless", 0,
      [(1_774_746_000, 3600), (1_774_749_600, 0), (1_774_753_200, 86_399), (1_774_753_201, -86_399)]),
  ]
}()

var argumentCount = CommandLine.argc
var arguments = CommandLine.unsafeArgv
let status = runFuzzer(&argumentCount, &arguments) { bytes, count in
  Invariants(text: String(decoding: UnsafeBufferPointer(start: bytes, count: count), as: UTF8.self)).check()
  return 0
}
if status != 0 { fatalError("the fuzzer ended with status \(status)") }
