// A moment of the wall clock as a value: what records, log lines and schedules carry, so that only the reactor reads
// a clock.

/// A moment, in nanoseconds since 1970-01-01T00:00:00Z; it covers the years 1677 to 2262.
public struct Timestamp: Sendable, Hashable {
  /// Nanoseconds since the epoch, negative before it. Leap seconds are not counted, as in POSIX.
  public let nanosecondsSinceEpoch: Int64

  /// A moment by its distance from the epoch.
  public init(nanosecondsSinceEpoch: Int64) {
    self.nanosecondsSinceEpoch = nanosecondsSinceEpoch
  }

  /// RFC 3339 in UTC with milliseconds, `2026-11-23T04:05:06.789Z`. What is finer is cut off, never rounded up.
  public var rfc3339: String { return text(fractionDigits: 3, isUTC: true) }

  /// RFC 3339 in UTC with nanoseconds, `2026-11-23T04:05:06.789012345Z`.
  public var rfc3339Nanoseconds: String { return text(fractionDigits: 9, isUTC: true) }

  /// RFC 3339 with an offset from UTC, `2026-11-23T05:05:06+01:00`: with milliseconds when the moment is no whole
  /// second. The text's offset has whole minutes, so the seconds of an odd offset show in its time only.
  ///
  /// - Parameter offset: what local time is ahead of UTC, in seconds, less than a day.
  public func rfc3339(offset: Int) -> String {
    let (shifted, overflow) = nanosecondsSinceEpoch.addingReportingOverflow(
      Int64(offset) * nanosecondsPerSecond)
    guard !overflow else { return rfc3339 }
    let isWhole = nanosecondsSinceEpoch % nanosecondsPerSecond == 0
    let minutes = Int64(abs(offset)) / 60
    return Timestamp(nanosecondsSinceEpoch: shifted).text(fractionDigits: isWhole ? 0 : 3, isUTC: false)
      + (offset < 0 ? "-" : "+") + digits(minutes / 60, 2) + ":" + digits(minutes % 60, 2)
  }
}

extension Timestamp {
  /// The whole second that the moment is in, counted from the epoch.
  public var secondsSinceEpoch: Int64 {
    flooredDivision(nanosecondsSinceEpoch, nanosecondsPerSecond).quotient
  }

  /// A whole second; clamped to what 64 bits of nanoseconds reach.
  public init(secondsSinceEpoch: Int64) {
    let (nanoseconds, overflow) = secondsSinceEpoch.multipliedReportingOverflow(by: nanosecondsPerSecond)
    self.init(nanosecondsSinceEpoch: overflow ? (secondsSinceEpoch < 0 ? .min : .max) : nanoseconds)
  }

  /// The moment so much later, or earlier for a negative duration; clamped to what 64 bits of nanoseconds reach.
  public static func + (moment: Timestamp, duration: Duration) -> Timestamp {
    let (sum, overflow) = moment.nanosecondsSinceEpoch.addingReportingOverflow(duration.nanoseconds)
    return Timestamp(nanosecondsSinceEpoch: overflow ? (duration < .zero ? .min : .max) : sum)
  }

  /// The moment so much earlier.
  public static func - (moment: Timestamp, duration: Duration) -> Timestamp { moment + (.zero - duration) }

  /// How long from `earlier` to `later`; negative when they are the other way round.
  public static func - (later: Timestamp, earlier: Timestamp) -> Duration {
    .nanoseconds(later.nanosecondsSinceEpoch) - .nanoseconds(earlier.nanosecondsSinceEpoch)
  }
}

extension Duration {
  /// Whole nanoseconds of either sign, clamped to what 64 bits hold.
  fileprivate var nanoseconds: Int64 {
    let (seconds, attoseconds) = components
    let (scaled, overflow) = seconds.multipliedReportingOverflow(by: nanosecondsPerSecond)
    let (sum, carried) = scaled.addingReportingOverflow(attoseconds / nanosecondsPerSecond)
    return overflow || carried ? (seconds < 0 ? .min : .max) : sum
  }
}

extension Timestamp: Comparable {
  /// The earlier moment comes first.
  public static func < (left: Timestamp, right: Timestamp) -> Bool {
    return left.nanosecondsSinceEpoch < right.nanosecondsSinceEpoch
  }
}

extension Timestamp: CustomStringConvertible {
  /// The text form with milliseconds.
  public var description: String { return rfc3339 }
}

extension Timestamp: Decodable {
  /// Reads the text form; anything else is a data corruption error that quotes it.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    let text = try container.decode(String.self)
    guard let timestamp = Timestamp(rfc3339: text) else {
      throw DecodingError.dataCorruptedError(
        in: container, debugDescription: "'\(text)' is no RFC 3339 time in UTC between 1677 and 2262")
    }
    self = timestamp
  }
}

// MARK: - Text

private let nanosecondsPerSecond: Int64 = 1_000_000_000
private let secondsPerDay: Int64 = 86_400
/// The text without fraction and offset; `_` is a digit.
private let shape = Array("____-__-__T__:__:__".utf8)

extension Timestamp {
  /// The longest text, `2026-11-23T04:05:06.789012345Z`, in bytes.
  public static let textLimit = 30

  /// Writes `rfc3339` into a buffer of at least `textLimit` bytes, and returns how many it takes: each record and each step of
  /// a session has some, and a string for each would be made only to be copied.
  public func write(into buffer: UnsafeMutableBufferPointer<UInt8>) -> Int {
    write(into: buffer, fractionDigits: 3, isUTC: true)
  }

  private func text(fractionDigits: Int, isUTC: Bool) -> String {
    String(unsafeUninitializedCapacity: Self.textLimit) {
      write(into: $0, fractionDigits: fractionDigits, isUTC: isUTC)
    }
  }

  private func write(
    into buffer: UnsafeMutableBufferPointer<UInt8>, fractionDigits: Int, isUTC: Bool
  ) -> Int {
    precondition(buffer.count >= Self.textLimit, "there is no room for a moment")
    // Floored, so that a moment before the epoch has a fraction that counts forward too.
    let (second, nanosecond) = flooredDivision(nanosecondsSinceEpoch, nanosecondsPerSecond)
    let (day, secondOfDay) = flooredDivision(second, secondsPerDay)
    let date = CivilDate(daysSinceEpoch: day)
    func put(_ byte: Unicode.Scalar, at place: Int) { buffer[place] = UInt8(ascii: byte) }
    func put(_ pair: Int64, at place: Int) {
      let (tens, ones) = UInt32(truncatingIfNeeded: pair).quotientAndRemainder(dividingBy: 10)
      buffer[place] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: tens)
      buffer[place + 1] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: ones)
    }
    put(date.year / 100, at: 0)
    put(date.year % 100, at: 2)
    put("-", at: 4)
    put(date.month, at: 5)
    put("-", at: 7)
    put(date.day, at: 8)
    put("T", at: 10)
    put(secondOfDay / 3600, at: 11)
    put(":", at: 13)
    put(secondOfDay / 60 % 60, at: 14)
    put(":", at: 16)
    put(secondOfDay % 60, at: 17)
    var count = 19
    if fractionDigits > 0 {
      put(".", at: count)
      // All nine: what follows is written over those that are not wanted.
      put(nanosecond / 10_000_000, at: count + 1)
      put(nanosecond / 100_000 % 100, at: count + 3)
      put(nanosecond / 1000 % 100, at: count + 5)
      put(nanosecond / 10 % 100, at: count + 7)
      buffer[count + 9] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: nanosecond % 10)
      count += 1 + fractionDigits
    }
    if isUTC {
      put("Z", at: count)
      count += 1
    }
    return count
  }

  /// Reads `YYYY-MM-DDTHH:MM:SS` with at most nine digits of fraction and `Z` or an offset like `+01:00`; nil for
  /// anything else, for dates that do not exist and for years that nanoseconds in 64 bits do not reach.
  public init?(rfc3339 text: String) {
    let bytes = Array(text.utf8)
    guard bytes.count > shape.count else { return nil }
    for (byte, expected) in zip(bytes, shape) where expected != UInt8(ascii: "_") && byte != expected {
      return nil
    }
    let end =
      bytes[shape.count...].firstIndex { $0 != UInt8(ascii: ".") && number([$0]) == nil } ?? bytes.count
    guard let year = number(bytes[0..<4]), let month = number(bytes[5..<7]), let day = number(bytes[8..<10]),
      let hour = number(bytes[11..<13]), let minute = number(bytes[14..<16]),
      let second = number(bytes[17..<19]), let nanosecond = fraction(bytes[19..<end]),
      let offset = offset(bytes[end...])
    else { return nil }
    guard let date = CivilDate(year: year, month: month, day: day), hour < 24, minute < 60, second < 60 else {
      return nil
    }
    var seconds = date.daysSinceEpoch * secondsPerDay + hour * 3600 + minute * 60 + second - offset
    var rest = nanosecond
    if seconds < 0 && rest > 0 {
      // Counted down from the next second: the earliest moments have a whole second that does not fit.
      seconds += 1
      rest -= nanosecondsPerSecond
    }
    let (whole, tooLarge) = seconds.multipliedReportingOverflow(by: nanosecondsPerSecond)
    let (sum, overflow) = whole.addingReportingOverflow(rest)
    guard !tooLarge, !overflow else { return nil }
    self.init(nanosecondsSinceEpoch: sum)
  }
}

private func digits(_ value: Int64, _ width: Int) -> String {
  let text = String(value)
  return String(repeating: "0", count: max(0, width - text.utf8.count)) + text
}

private func number(_ bytes: ArraySlice<UInt8>) -> Int64? {
  var value: Int64 = 0
  for byte in bytes {
    guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
    value = value * 10 + Int64(byte - UInt8(ascii: "0"))
  }
  return value
}

/// The nanoseconds of a fraction with its point; zero where there is none.
private func fraction(_ bytes: ArraySlice<UInt8>) -> Int64? {
  guard let point = bytes.first else { return 0 }
  guard point == UInt8(ascii: "."), (2...10).contains(bytes.count) else { return nil }
  let missing = Array(repeating: UInt8(ascii: "0"), count: 10 - bytes.count)
  return number(bytes.dropFirst() + missing)
}

/// The seconds of `Z`, `+01:00` or `-03:30`.
private func offset(_ bytes: ArraySlice<UInt8>) -> Int64? {
  if bytes.elementsEqual("Z".utf8) { return 0 }
  let bytes = Array(bytes)
  guard bytes.count == 6, bytes[0] == UInt8(ascii: "+") || bytes[0] == UInt8(ascii: "-"),
    bytes[3] == UInt8(ascii: ":"), let hours = number(bytes[1..<3]), let minutes = number(bytes[4..<6]),
    hours < 24, minutes < 60
  else { return nil }
  return (hours * 3600 + minutes * 60) * (bytes[0] == UInt8(ascii: "-") ? -1 : 1)
}
