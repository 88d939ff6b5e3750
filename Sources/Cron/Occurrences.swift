// When an expression fires in a zone, whatever is done to the clocks there.

public import Time

/// The rule for days on which a clock is changed.
///
/// A *fixed time* (neither `*` nor a step in minute and hour) belongs to the local day. It fires once on every local day
/// that the expression matches: where the clock leaves its time out, at the first instant after the gap; where the
/// clock shows its time twice, at the first of the two.
///
/// An *interval* (`*` or a step in minute or hour) goes by what the clock shows: it fires at every instant whose local
/// time matches, so in both of two hours of one name and in none that does not exist.
extension CronExpression {
  /// The first occurrence later than a moment; nil when the zone's knowledge ends before there is one.
  public func next(after moment: Timestamp, in zone: Zone) -> Timestamp? {
    next(atOrAfter: moment.secondsSinceEpoch + 1, in: zone).map { Timestamp(secondsSinceEpoch: $0) }
  }

  /// The first occurrence at or after a moment; nil when the zone's knowledge ends before there is one.
  public func next(atOrAfter moment: Timestamp, in zone: Zone) -> Timestamp? {
    let second = moment.secondsSinceEpoch
    let isWhole = Timestamp(secondsSinceEpoch: second) == moment
    return next(atOrAfter: isWhole ? second : second + 1, in: zone).map { Timestamp(secondsSinceEpoch: $0) }
  }

  /// How many occurrences are later than one moment and not later than another.
  public func count(after earlier: Timestamp, through later: Timestamp, in zone: Zone) -> Int {
    let seconds = earlier.secondsSinceEpoch + 1..<max(earlier, later).secondsSinceEpoch + 1
    var count = 0
    for segment in zone.segments[zone.segmentIndex(at: seconds.lowerBound)...] {
      guard segment.start < seconds.upperBound else { break }
      if segment.start >= seconds.lowerBound, firesAtStart(of: segment) { count += 1 }
      let locals = locals(of: segment, from: seconds.lowerBound)
      let end = min(locals.upperBound, seconds.upperBound + segment.offset)
      if locals.lowerBound < end { count += countMatches(in: locals.lowerBound..<end) }
    }
    return count
  }

  private func next(atOrAfter second: Int64, in zone: Zone) -> Int64? {
    guard second < zone.end.secondsSinceEpoch else { return nil }
    // Past the last local second of any segment, as no offset reaches a day.
    let limit = zone.end.secondsSinceEpoch + secondsPerDay
    // The last search: no local time from `from` to before `match` matches. Most segments then need no other.
    var searched: (from: Int64, match: Int64?)?
    for segment in zone.segments[zone.segmentIndex(at: second)...] {
      if segment.start >= second, firesAtStart(of: segment) { return segment.start }
      let locals = locals(of: segment, from: second)
      guard !locals.isEmpty else { continue }
      let known: (from: Int64, match: Int64?)
      if let last = searched, last.from <= locals.lowerBound, locals.lowerBound <= last.match ?? .max {
        known = last
      } else {
        known = (locals.lowerBound, firstMatch(atOrAfter: locals.lowerBound, before: limit))
      }
      searched = known
      if let match = known.match, match < locals.upperBound { return match - segment.offset }
    }
    return nil
  }

  /// The local times of a segment at which the expression may fire, from a second on.
  private func locals(of segment: Zone.Segment, from second: Int64) -> Range<Int64> {
    var first = max(segment.start, second) + segment.offset
    if !isInterval { first = max(first, segment.firstNewLocal) }
    return first..<max(first, segment.end + segment.offset)
  }

  /// Whether a fixed time lies in the gap before a segment and not at its very end, which is a time that exists.
  private func firesAtStart(of segment: Zone.Segment) -> Bool {
    guard !isInterval, let gap = segment.gap,
      firstMatch(atOrAfter: gap.upperBound, before: gap.upperBound + 1) == nil
    else { return false }
    // A day that lies in the gap as a whole is no local day; what is left are the ends of two.
    let endOfFirstDay =
      flooredDivision(gap.lowerBound + secondsPerDay - 1, secondsPerDay).quotient * secondsPerDay
    let startOfLastDay = flooredDivision(gap.upperBound, secondsPerDay).quotient * secondsPerDay
    return firstMatch(atOrAfter: gap.lowerBound, before: min(endOfFirstDay, gap.upperBound)) != nil
      || firstMatch(atOrAfter: max(gap.lowerBound, startOfLastDay), before: gap.upperBound) != nil
  }
}
