// A moment as text and back, over the whole range that 64 bits of nanoseconds reach.

import FoundationEssentials
import Testing
import Time

@Suite("Timestamp")
struct TimestampTests {
  @Test(
    "a moment has the RFC 3339 text that the calendar gives it",
    arguments: [
      (0, "1970-01-01T00:00:00.000Z"),
      (951_782_400, "2000-02-29T00:00:00.000Z"),
      (951_868_799, "2000-02-29T23:59:59.000Z"),
      (951_868_800, "2000-03-01T00:00:00.000Z"),
      (1_709_164_800, "2024-02-29T00:00:00.000Z"),
      (1_795_406_706, "2026-11-23T04:05:06.000Z"),
      (4_107_542_400, "2100-03-01T00:00:00.000Z"),
      (4_107_542_399, "2100-02-28T23:59:59.000Z"),
      (-1, "1969-12-31T23:59:59.000Z"),
      (-2_203_891_200, "1900-03-01T00:00:00.000Z"),
      (-2_203_891_201, "1900-02-28T23:59:59.000Z"),
    ] as [(Int64, String)])
  func text(second: Int64, text: String) {
    let timestamp = Timestamp(nanosecondsSinceEpoch: second * 1_000_000_000)
    #expect(timestamp.rfc3339 == text)
    #expect(Timestamp(rfc3339: text) == timestamp)
  }

  @Test("milliseconds are cut off, never rounded up, also before the epoch")
  func fractions() {
    #expect(Timestamp(nanosecondsSinceEpoch: 1_999_999_999).rfc3339 == "1970-01-01T00:00:01.999Z")
    #expect(Timestamp(nanosecondsSinceEpoch: -1).rfc3339 == "1969-12-31T23:59:59.999Z")
    #expect(
      Timestamp(nanosecondsSinceEpoch: 1_000_000_001).rfc3339Nanoseconds == "1970-01-01T00:00:01.000000001Z")
  }

  @Test("the last nanosecond of days from the whole range comes back from its text")
  func wholeRange() {
    var previous: String?
    for day in stride(from: Int64(-106_751), through: 106_750, by: 11) {
      let last = Timestamp(nanosecondsSinceEpoch: (day + 1) * 86_400_000_000_000 - 1)
      let text = last.rfc3339Nanoseconds
      guard Timestamp(rfc3339: text) == last, previous.map({ $0 < text }) ?? true else {
        Issue.record("day \(day) became \(text) after \(previous ?? "nothing")")
        return
      }
      previous = text
    }
  }

  @Test("the first and the last moment come back; one nanosecond further is refused")
  func limits() {
    for value in [Int64.min, Int64.min + 1, Int64.max - 1, Int64.max] {
      let timestamp = Timestamp(nanosecondsSinceEpoch: value)
      #expect(Timestamp(rfc3339: timestamp.rfc3339Nanoseconds) == timestamp)
    }
    #expect(Timestamp(rfc3339: "1677-09-21T00:12:43.145224191Z") == nil)
    #expect(Timestamp(rfc3339: "2262-04-11T23:47:16.854775808Z") == nil)
    #expect(Timestamp(rfc3339: "9999-12-31T23:59:59Z") == nil)
    #expect(Timestamp(rfc3339: "0000-01-01T00:00:00Z") == nil)
  }

  @Test(
    "what is no time is refused",
    arguments: [
      "", "Z", "2026-11-23", "2026-11-23T04:05:06", "2026-11-23t04:05:06Z",
      "2026-11-23T04:05:06.Z", "2026-11-23T04:05:06.1234567890Z", "2026-11-23T04:05:06,5Z",
      "2026-11-23T24:00:00Z", "2026-11-23T04:60:00Z", "2026-11-23T04:05:60Z", "2026-13-01T00:00:00Z",
      "2026-00-01T00:00:00Z", "2026-02-29T00:00:00Z", "2100-02-29T00:00:00Z", "2026-11-31T00:00:00Z",
      "2026-11-00T00:00:00Z", "+026-11-23T04:05:06Z", "2026-11-23T04:05:06.12aZ", "２026-11-23T04:05:06Z",
    ])
  func refused(text: String) {
    #expect(Timestamp(rfc3339: text) == nil)
  }

  @Test("a fraction of any length up to nine digits is read at its place")
  func readFractions() {
    #expect(Timestamp(rfc3339: "1970-01-01T00:00:00.5Z")?.nanosecondsSinceEpoch == 500_000_000)
    #expect(Timestamp(rfc3339: "1970-01-01T00:00:00.000000001Z")?.nanosecondsSinceEpoch == 1)
    #expect(Timestamp(rfc3339: "1970-01-01T00:00:00Z")?.nanosecondsSinceEpoch == 0)
  }

  @Test("it is read from its text in JSON, and an unreadable one is quoted in the error")
  func coding() throws {
    let timestamp = Timestamp(nanosecondsSinceEpoch: 1_795_406_706_789_000_000)
    let json = Data(#"["\#(timestamp.rfc3339)"]"#.utf8)
    #expect(try JSONDecoder().decode([Timestamp].self, from: json) == [timestamp])
    let error = #expect(throws: DecodingError.self) {
      try JSONDecoder().decode([Timestamp].self, from: Data(#"["yesterday"]"#.utf8))
    }
    #expect(error.map { String(describing: $0).contains("'yesterday'") } == true)
  }

  @Test("the earlier moment comes first")
  func order() {
    #expect(Timestamp(nanosecondsSinceEpoch: -1) < Timestamp(nanosecondsSinceEpoch: 0))
  }
}

@Suite("Timestamp, away from UTC")
struct OffsetTests {
  @Test(
    "a moment has the text of its local time, and comes back from it",
    arguments: [
      ("2026-11-23T04:05:06Z", 3600, "2026-11-23T05:05:06+01:00"),
      ("2026-11-23T04:05:06Z", 0, "2026-11-23T04:05:06+00:00"),
      ("2026-11-23T04:05:06Z", -12_600, "2026-11-23T00:35:06-03:30"),
      ("2026-11-23T04:05:06Z", -19_800, "2026-11-22T22:35:06-05:30"),
      ("2026-12-31T23:00:00Z", 50_400, "2027-01-01T13:00:00+14:00"),
      ("2026-11-23T04:05:06.789Z", 45_900, "2026-11-23T16:50:06.789+12:45"),
      ("1969-12-31T23:59:59.500Z", -3600, "1969-12-31T22:59:59.500-01:00"),
      ("2024-02-28T23:30:00Z", 1800, "2024-02-29T00:00:00+00:30"),
    ])
  func text(utc: String, offset: Int, local: String) throws {
    let moment = try #require(Timestamp(rfc3339: utc))
    #expect(moment.rfc3339(offset: offset) == local)
    #expect(Timestamp(rfc3339: local) == moment)
  }

  @Test("the seconds of an odd offset show in the time, not in the text of the offset")
  func oddOffset() {
    #expect(Timestamp(secondsSinceEpoch: 0).rfc3339(offset: 3217) == "1970-01-01T00:53:37+00:53")
    #expect(Timestamp(secondsSinceEpoch: 0).rfc3339(offset: -2670) == "1969-12-31T23:15:30-00:44")
  }

  @Test("a moment whose local time cannot be told is told in UTC")
  func beyondTheRange() {
    let last = Timestamp(nanosecondsSinceEpoch: .max)
    #expect(last.rfc3339(offset: 3600) == "2262-04-11T23:47:16.854Z")
    #expect(last.rfc3339(offset: -3600) == "2262-04-11T22:47:16.854-01:00")
    let first = Timestamp(nanosecondsSinceEpoch: .min)
    #expect(first.rfc3339(offset: -3600) == first.rfc3339)
  }

  @Test(
    "what is no offset is refused",
    arguments: [
      "+1:00", "+0100", "+01", "+01:0", "+01:000", "+24:00", "+01:60", "01:00", "+01:00Z", "Z+01:00", "z",
      "+aa:00",
      "+01-00", "~01:00", " +01:00", "+01:00 ", "++1:00", "+-1:00", "",
    ])
  func refused(offset: String) {
    #expect(Timestamp(rfc3339: "2026-11-23T04:05:06\(offset)") == nil)
    #expect(Timestamp(rfc3339: "2026-11-23T04:05:06.5\(offset)") == nil)
  }

  @Test("an offset may reach into the range, and not out of it")
  func limits() {
    #expect(
      Timestamp(rfc3339: "2262-04-12T00:47:16.854775807+01:00") == Timestamp(nanosecondsSinceEpoch: .max))
    #expect(Timestamp(rfc3339: "2262-04-12T00:47:16.854775808+01:00") == nil)
    #expect(
      Timestamp(rfc3339: "1677-09-20T23:12:43.145224192-01:00") == Timestamp(nanosecondsSinceEpoch: .min))
    #expect(Timestamp(rfc3339: "1677-09-21T00:12:43.145224192+00:01") == nil)
  }
}

@Suite("Timestamp arithmetic")
struct ArithmeticTests {
  @Test("a whole second is counted down, also before the epoch")
  func seconds() {
    #expect(Timestamp(nanosecondsSinceEpoch: 1_999_999_999).secondsSinceEpoch == 1)
    #expect(Timestamp(nanosecondsSinceEpoch: -1).secondsSinceEpoch == -1)
    #expect(Timestamp(nanosecondsSinceEpoch: -1_000_000_000).secondsSinceEpoch == -1)
    #expect(Timestamp(nanosecondsSinceEpoch: -1_000_000_001).secondsSinceEpoch == -2)
    #expect(Timestamp(secondsSinceEpoch: -7).nanosecondsSinceEpoch == -7_000_000_000)
  }

  @Test("a second beyond the range becomes its end")
  func clampedSeconds() {
    #expect(Timestamp(secondsSinceEpoch: 9_223_372_036).nanosecondsSinceEpoch == 9_223_372_036_000_000_000)
    #expect(Timestamp(secondsSinceEpoch: 9_223_372_037).nanosecondsSinceEpoch == .max)
    #expect(Timestamp(secondsSinceEpoch: .max).nanosecondsSinceEpoch == .max)
    #expect(Timestamp(secondsSinceEpoch: -9_223_372_037).nanosecondsSinceEpoch == .min)
    #expect(Timestamp(secondsSinceEpoch: .min).nanosecondsSinceEpoch == .min)
  }

  @Test("a duration is added and taken away, and what lies between two moments is one")
  func durations() {
    let moment = Timestamp(nanosecondsSinceEpoch: 5)
    #expect((moment + .seconds(2)).nanosecondsSinceEpoch == 2_000_000_005)
    #expect((moment - .seconds(2)).nanosecondsSinceEpoch == -1_999_999_995)
    #expect((moment + .nanoseconds(-6)).nanosecondsSinceEpoch == -1)
    #expect((moment + .milliseconds(-1500)).nanosecondsSinceEpoch == -1_499_999_995)
    #expect(moment + .zero == moment)
    let later = Timestamp(secondsSinceEpoch: 3)
    #expect(later - moment == .nanoseconds(2_999_999_995))
    #expect(moment - later == .nanoseconds(-2_999_999_995))
    #expect(moment + (later - moment) == later)
  }

  @Test("what is finer than a nanosecond is cut off towards the moment")
  func attoseconds() {
    let moment = Timestamp(nanosecondsSinceEpoch: 0)
    #expect(
      moment + Duration(secondsComponent: 0, attosecondsComponent: 1_999_999_999) == moment + .nanoseconds(1))
    #expect(
      moment - Duration(secondsComponent: 0, attosecondsComponent: 1_999_999_999) == moment - .nanoseconds(1))
  }

  @Test("what goes beyond the range ends there, and the whole range is a duration")
  func clampedSums() {
    let first = Timestamp(nanosecondsSinceEpoch: .min)
    let last = Timestamp(nanosecondsSinceEpoch: .max)
    #expect(last + .nanoseconds(1) == last)
    #expect(first - .nanoseconds(1) == first)
    #expect(Timestamp(nanosecondsSinceEpoch: 0) + .seconds(Int64.max) == last)
    #expect(Timestamp(nanosecondsSinceEpoch: 0) - .seconds(Int64.max) == first)
    #expect(Timestamp(nanosecondsSinceEpoch: 0) + .seconds(Int64.min) == first)
    #expect(last - first == .nanoseconds(Int64.max) - .nanoseconds(Int64.min))
    #expect(first - last == .nanoseconds(Int64.min) - .nanoseconds(Int64.max))
  }
}
