// Latencies of many sessions in a few numbers.

import Histogram

/// What a set of durations looks like, in milliseconds.
struct Percentiles: Codable, Sendable {
  var median = 0.0
  var p90 = 0.0
  var p99 = 0.0
  var max = 0.0

  /// - Parameter nanoseconds: the durations.
  init(_ nanoseconds: some Sequence<UInt64>) {
    var histogram = Histogram<UInt64>(numberOfSignificantValueDigits: .three)
    for duration in nanoseconds { histogram.record(duration) }
    func milliseconds(_ percentile: Double) -> Double {
      Double(histogram.valueAtPercentile(percentile)) / 1_000_000
    }
    median = milliseconds(50)
    p90 = milliseconds(90)
    p99 = milliseconds(99)
    max = milliseconds(100)
  }
}

/// The middle of some figures; 0 of none.
func median(_ figures: [Double]) -> Double {
  guard !figures.isEmpty else { return 0 }
  let sorted = figures.sorted()
  let middle = sorted.count / 2
  return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}
