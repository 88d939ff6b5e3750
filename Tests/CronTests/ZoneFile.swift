// A second reader of the tz database: the transitions of a zone file (RFC 8536) and of the rule at its end (POSIX TZ),
// to hold against what glibc is asked for.

import FoundationEssentials
import Glibc

/// What a zone file says.
struct ZoneFile {
  /// The first second of each offset, and the offset; the last ones of before `years` as well.
  private var changes: [(second: Int64, offset: Int64)] = []
  private var firstOffset: Int64 = 0

  /// - Parameter years: those for which the rule at the end is written out.
  init(_ data: Data, years: ClosedRange<Int64>) throws {
    var reader = Reader(bytes: Array(data))
    // Version 1 first, with 32 bits: only its length matters.
    let old = try Header(&reader)
    reader.position += old.length(timeSize: 4)
    let header = try Header(&reader)
    let times = (0..<header.times).map { _ in reader.integer(8) }
    let types = (0..<header.times).map { _ in Int(reader.integer(1)) }
    let offsets = (0..<header.types).map { _ in
      defer { reader.position += 2 }
      return reader.integer(4)
    }
    reader.position += header.abbreviations + header.leaps * 12 + header.standardFlags + header.utcFlags
    firstOffset = offsets.first ?? 0
    changes = zip(times, types).map { ($0, offsets[$1]) }
    let rule = String(decoding: reader.bytes[reader.position...].dropFirst().dropLast(), as: UTF8.self)
    let last = changes.last?.second ?? .min
    changes += try Rule(rule).changes(in: years).filter { $0.second > last }
  }

  /// The changes of the offset in a range, those that change nothing but a name left out.
  func transitions(in range: Range<Int64>) -> [[Int64]] {
    var offset = firstOffset
    return changes.compactMap { change in
      defer { offset = change.offset }
      return change.offset != offset && range.contains(change.second) ? [change.second, change.offset] : nil
    }
  }

  struct Unreadable: Error {
    let what: String
  }

  private struct Reader {
    let bytes: [UInt8]
    var position = 0

    /// Big-endian; signed from four bytes on.
    mutating func integer(_ size: Int) -> Int64 {
      defer { position += size }
      let value = bytes[position..<position + size].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      return size == 4 ? Int64(Int32(truncatingIfNeeded: value)) : Int64(bitPattern: value)
    }
  }

  private struct Header {
    let utcFlags, standardFlags, leaps, times, types, abbreviations: Int

    init(_ reader: inout Reader) throws {
      guard reader.bytes.count >= reader.position + 44, reader.integer(4) == 0x545a_6966 else {
        throw Unreadable(what: "no TZif header")
      }
      reader.position += 16
      (utcFlags, standardFlags) = (Int(reader.integer(4)), Int(reader.integer(4)))
      (leaps, times) = (Int(reader.integer(4)), Int(reader.integer(4)))
      (types, abbreviations) = (Int(reader.integer(4)), Int(reader.integer(4)))
    }

    func length(timeSize: Int) -> Int {
      times * (timeSize + 1) + types * 6 + abbreviations + leaps * (timeSize + 4) + standardFlags + utcFlags
    }
  }
}

/// A rule like `CET-1CEST,M3.5.0,M10.5.0/3`, with the zone files' own hours of −167 to 167.
private struct Rule {
  private struct Day {
    let month, week, weekday, seconds: Int64
  }

  private let standard: Int64
  private let summer: Int64
  private let days: [Day]

  init(_ text: String) throws {
    var rest = text[...]
    Self.skipName(&rest)
    standard = -Self.time(&rest)
    guard !rest.isEmpty else {
      (summer, days) = (standard, [])
      return
    }
    Self.skipName(&rest)
    summer = rest.first == "," ? standard + 3600 : -Self.time(&rest)
    days = try rest.split(separator: ",").map { part in
      var parts = part.split(separator: "/")
      let numbers = parts[0].dropFirst().split(separator: ".").compactMap { Int64($0) }
      guard parts[0].hasPrefix("M"), numbers.count == 3 else {
        throw ZoneFile.Unreadable(what: "a rule that is not by month, week and weekday: \(text)")
      }
      let seconds = parts.count > 1 ? Self.time(&parts[1]) : 7200
      return Day(month: numbers[0], week: numbers[1], weekday: numbers[2], seconds: seconds)
    }
    guard days.count == 2 else { throw ZoneFile.Unreadable(what: "a rule without two days: \(text)") }
  }

  func changes(in years: ClosedRange<Int64>) -> [(second: Int64, offset: Int64)] {
    guard days.count == 2 else { return [] }
    return years.flatMap { year in
      [
        (Self.second(of: days[0], in: year) - standard, summer),
        (Self.second(of: days[1], in: year) - summer, standard),
      ].sorted { $0.0 < $1.0 }
    }
  }

  /// Seconds of local time from the epoch on.
  private static func second(of day: Day, in year: Int64) -> Int64 {
    var first = tm()
    (first.tm_year, first.tm_mon, first.tm_mday) = (Int32(year - 1900), Int32(day.month - 1), 1)
    let start = Int64(timegm(&first))
    var next = tm()
    (next.tm_year, next.tm_mon, next.tm_mday) = (first.tm_year, first.tm_mon + 1, 1)
    let length = (Int64(timegm(&next)) - start) / 86_400
    var number = (day.weekday - Int64(first.tm_wday) + 7) % 7 + (day.week - 1) * 7
    // The fifth is the last one, of which a month may have four.
    if number >= length { number -= 7 }
    return start + number * 86_400 + day.seconds
  }

  private static func skipName(_ rest: inout Substring) {
    if rest.first == "<" {
      rest = rest.drop { $0 != ">" }.dropFirst()
    } else {
      rest = rest.drop { $0.isLetter }
    }
  }

  /// `-3`, `+5:30` or `2:00:00`, in seconds.
  private static func time(_ rest: inout Substring) -> Int64 {
    let text = rest.prefix { "+-:0123456789".contains($0) }
    rest = rest.dropFirst(text.count)
    let parts = text.drop { "+-".contains($0) }.split(separator: ":").compactMap { Int64($0) }
    let seconds = zip(parts, [3600, 60, 1]).map { $0 * $1 }.reduce(0, +)
    return text.hasPrefix("-") ? -seconds : seconds
  }
}
