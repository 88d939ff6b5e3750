// A moment of the monotonic clock, for deadlines and durations.

internal import CSupport

/// Nanoseconds of CLOCK_MONOTONIC. Comparable within one boot of one machine only.
public struct Instant: Sendable, Hashable, Comparable {
  /// Nanoseconds since an arbitrary start.
  public let nanoseconds: UInt64

  /// - Parameter nanoseconds: a reading of the monotonic clock.
  public init(nanoseconds: UInt64) {
    self.nanoseconds = nanoseconds
  }

  /// Earlier or later.
  public static func < (left: Instant, right: Instant) -> Bool { left.nanoseconds < right.nanoseconds }

  /// The moment `duration` later. A negative duration counts as none, one beyond the clock's range as its end.
  public static func + (instant: Instant, duration: Duration) -> Instant {
    let (sum, overflow) = instant.nanoseconds.addingReportingOverflow(duration.wholeNanoseconds)
    return Instant(nanoseconds: overflow ? .max : sum)
  }

  /// How long from `earlier` to `later`; zero when they are the other way round.
  public static func - (later: Instant, earlier: Instant) -> Duration {
    guard later > earlier else { return .zero }
    return .nanoseconds(Int64(clamping: later.nanoseconds - earlier.nanoseconds))
  }
}

extension Duration {
  /// Whole nanoseconds, clamped to what 64 bits hold; 0 when negative.
  public var wholeNanoseconds: UInt64 {
    let (seconds, attoseconds) = components
    guard seconds >= 0, attoseconds >= 0 else { return 0 }
    let (scaled, overflow) = UInt64(seconds).multipliedReportingOverflow(by: 1_000_000_000)
    guard !overflow else { return .max }
    let (sum, carried) = scaled.addingReportingOverflow(UInt64(attoseconds) / 1_000_000_000)
    return carried ? .max : sum
  }

  /// Whole milliseconds, rounded down.
  public var wholeMilliseconds: UInt64 { wholeNanoseconds / 1_000_000 }
}
