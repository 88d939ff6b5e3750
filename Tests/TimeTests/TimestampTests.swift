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
    "what is no time in UTC is refused",
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

  @Test("JSON carries the text, and an unreadable one is quoted in the error")
  func coding() throws {
    let timestamp = Timestamp(nanosecondsSinceEpoch: 1_795_406_706_789_000_000)
    let json = try JSONEncoder().encode([timestamp])
    #expect(String(decoding: json, as: UTF8.self) == #"["2026-11-23T04:05:06.789Z"]"#)
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
