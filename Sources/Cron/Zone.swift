// Local time as data: which offset from UTC holds from when on, and what that does to the hours of a day.

public import Time

/// The local time of one place over a stretch of years.
public struct Zone: Sendable, Equatable {
  /// A change of the offset from UTC.
  public struct Transition: Sendable, Equatable {
    /// The first second of the new offset, counted from the epoch.
    public let second: Int64
    /// What local time is ahead of UTC from then on, in seconds; less than a day either way.
    public let offset: Int64

    /// A change at a second to an offset.
    public init(second: Int64, offset: Int64) {
      self.second = second
      self.offset = offset
    }
  }

  /// A stretch with one offset.
  struct Segment: Sendable, Equatable {
    /// The first second, counted from the epoch; `Int64.min` in the first segment.
    let start: Int64
    /// The first second after it; the end of what the zone knows in the last one.
    let end: Int64
    /// Local seconds ahead of UTC.
    let offset: Int64
    /// Local seconds from here on are new; the clock has shown those before, in an earlier segment.
    let firstNewLocal: Int64
    /// The local seconds that the clock leaves out when the segment begins.
    let gap: Range<Int64>?
  }

  /// The name that the operator knows it by.
  public let name: String
  /// What the zone knows ends here. Until then there may be transitions, and after it nothing is ever found.
  public let end: Timestamp
  /// Ascending, without holes, at least one.
  let segments: [Segment]

  /// UTC, for ever.
  public static let utc = Zone(
    name: "UTC", offset: 0, transitions: [], end: Timestamp(nanosecondsSinceEpoch: .max))

  /// - Parameters:
  ///   - name: what the operator knows it by.
  ///   - offset: local seconds ahead of UTC before the first transition.
  ///   - transitions: ascending, all before `end`.
  ///   - end: where the knowledge ends.
  public init(name: String, offset: Int64, transitions: [Transition], end: Timestamp) {
    self.name = name
    self.end = end
    var segments: [Segment] = []
    // The latest local second that was shown, and one more.
    var shown = Int64.min
    var start = Int64.min
    var offset = offset
    for (index, transition) in (transitions + [Transition(second: end.secondsSinceEpoch, offset: 0)])
      .enumerated()
    {
      let first = index == 0 ? Int64.min : start + offset
      segments.append(
        Segment(
          start: start, end: transition.second, offset: offset, firstNewLocal: Swift.max(shown, first),
          gap: index > 0 && shown < first ? shown..<first : nil))
      shown = Swift.max(shown, transition.second + offset)
      start = transition.second
      offset = transition.offset
    }
    self.segments = segments
  }

  /// The index of the segment that a second is in; the last one also for what comes after it.
  func segmentIndex(at second: Int64) -> Int {
    var low = 0
    var high = segments.count - 1
    while low < high {
      let middle = (low + high + 1) / 2
      if segments[middle].start <= second { low = middle } else { high = middle - 1 }
    }
    return low
  }

  /// What local time is ahead of UTC at a moment, in seconds.
  public func offset(at moment: Timestamp) -> Int64 {
    segments[segmentIndex(at: moment.secondsSinceEpoch)].offset
  }

  /// A moment as local time with its offset, `2026-11-23T05:05:06+01:00`.
  public func text(of moment: Timestamp) -> String { moment.rfc3339(offset: Int(offset(at: moment))) }

  /// The moment at which the clock shows a local time: the first of two, and the end of the gap for a time that it
  /// leaves out.
  ///
  /// - Parameter local: a moment whose text in UTC is the local time.
  public func moment(ofLocal local: Timestamp) -> Timestamp {
    let second = local.secondsSinceEpoch
    // Each second of local time is new in one segment or in the gap before one.
    let segment = segments.first { second < $0.end + $0.offset } ?? segments[segments.count - 1]
    if let gap = segment.gap, second < gap.upperBound { return Timestamp(secondsSinceEpoch: segment.start) }
    return local - .seconds(segment.offset)
  }
}
