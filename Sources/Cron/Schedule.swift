// An expression in a zone with its jitter: all that says when one profile is to run.

public import Time

/// When something runs by itself.
public struct Schedule: Sendable, Equatable {
  /// The longest jitter: a day.
  public static let jitterLimit: Duration = .seconds(secondsPerDay)

  /// An occurrence and the moment to act on it.
  public struct Occurrence: Sendable, Equatable {
    /// What the expression says.
    public let moment: Timestamp
    /// The same, or later by the jitter.
    public let due: Timestamp
  }

  /// What says when.
  public let expression: CronExpression
  /// Where.
  public let zone: Zone
  /// Each occurrence is delayed by less than this and by less than the time to the next one, in whole milliseconds.
  public let jitter: Duration
  /// Where the draws of the delays start from: another for each name.
  private let seed: UInt64

  /// - Parameters:
  ///   - name: whose schedule it is; each name draws delays of its own.
  ///   - jitter: from zero to `jitterLimit`.
  public init(name: String, expression: CronExpression, zone: Zone, jitter: Duration = .zero) {
    precondition((.zero...Self.jitterLimit).contains(jitter))
    self.expression = expression
    self.zone = zone
    self.jitter = jitter
    seed = name.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
  }

  /// The same in another version of its zone.
  public func moved(to zone: Zone) -> Schedule { Schedule(self, zone: zone) }

  private init(_ other: Schedule, zone: Zone) {
    expression = other.expression
    self.zone = zone
    jitter = other.jitter
    seed = other.seed
  }

  /// The first occurrence later than a moment; nil when the zone's knowledge ends before there is one.
  public func next(after moment: Timestamp) -> Occurrence? {
    expression.next(after: moment, in: zone).map(occurrence)
  }

  /// The first occurrence that is due at or after a moment; nil when the zone's knowledge ends before there is one.
  public func next(dueAtOrAfter moment: Timestamp) -> Occurrence? {
    // Of those before the moment only the last may be due after it, as no delay reaches the next occurrence.
    var last: Timestamp?
    var next = expression.next(atOrAfter: moment - jitter, in: zone)
    while let earlier = next, earlier < moment {
      last = earlier
      next = expression.next(after: earlier, in: zone)
    }
    if let last = last.map(occurrence), last.due >= moment { return last }
    return next.map(occurrence)
  }

  private func occurrence(_ moment: Timestamp) -> Occurrence {
    Occurrence(moment: moment, due: moment + delay(of: moment))
  }

  /// Drawn from the name and the moment alone (FNV-1a for the name, the mixing of SplitMix64 for the draw), so that it
  /// is the same whenever and wherever it is asked for.
  private func delay(of moment: Timestamp) -> Duration {
    guard jitter > .zero else { return .zero }
    // An occurrence comes before the next one, however close the two are: by the clock or because that was changed.
    let room = expression.next(after: moment, in: zone).map { min(jitter, $0 - moment) } ?? jitter
    let (seconds, attoseconds) = room.components
    let milliseconds = UInt64(seconds * 1000 + attoseconds / 1_000_000_000_000_000)
    guard milliseconds > 0 else { return .zero }
    var bits = seed ^ UInt64(bitPattern: moment.secondsSinceEpoch) &* 0x9e37_79b9_7f4a_7c15
    bits = (bits ^ bits >> 30) &* 0xbf58_476d_1ce4_e5b9
    bits = (bits ^ bits >> 27) &* 0x94d0_49bb_1331_11eb
    bits ^= bits >> 31
    return .milliseconds(Int64(bits % milliseconds))
  }
}
