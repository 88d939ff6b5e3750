// A moment as operators name it: exactly, or by what the local clock shows.

internal import ArgumentParser
internal import Time

/// A moment that is exact, or one that needs the local zone to be so.
enum NamedMoment: Sendable {
  case exact(Timestamp)
  /// The local clock shows what this moment's text in UTC says.
  case local(Timestamp)

  /// Reads RFC 3339 with Z or an offset, or local time: `2026-03-29T02:30:00`, `2026-03-29T02:30`, `2026-03-29`. A blank
  /// may stand for the T.
  ///
  /// - Throws: `ValidationError`, whose message goes on after what the argument parser says of the option.
  init(_ text: String) throws {
    let day = text.prefix(10)
    let time = text.dropFirst(10)
    let words = time.first == " " ? "\(day)T\(time.dropFirst())" : text
    if let moment = Timestamp(rfc3339: words) {
      self = .exact(moment)
    } else if let moment = ["Z", ":00Z", "T00:00:00Z"].lazy.compactMap({ Timestamp(rfc3339: words + $0) })
      .first
    {
      self = .local(moment)
    } else {
      throw ValidationError(
        "write a time between the years 1677 and 2262 with an offset, like 2026-03-29T02:30:00+01:00 or "
          + "2026-03-29T01:30:00Z, or in local time, like 2026-03-29T02:30 or 2026-03-29")
    }
  }
}
