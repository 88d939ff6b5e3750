// The phases of a session as bars over its length. Pure.

internal import Audit
internal import Time

/// A bar chart: one line a phase, each entry of it where it lay in time.
struct PhaseChart {
  /// How wide the bars get at least, however narrow the terminal is; the lines are then wider than it.
  static let leastBarWidth = 10

  /// One line.
  struct Row: Equatable {
    let name: String
    /// How long it took; nil when that is not known.
    let time: Duration?
    /// The columns that are filled, each entry's from the first to the one after the last.
    var bars: [Range<Int>]
  }

  let rows: [Row]
  private let nameWidth: Int
  private let timeWidth: Int

  /// - Parameters:
  ///   - metadata: the session's.
  ///   - now: the end of a phase that still lasts; nil when nobody knows whether it does.
  ///   - width: how long a line may be.
  init(_ metadata: Metadata, until now: Timestamp?, width: Int) {
    let times = metadata.phaseTimes(until: now)
    // By name, in the order in which they came; with those of which no more is known than that.
    var names: [String] = []
    for phase in metadata.phases where !names.contains(phase.name) { names.append(phase.name) }
    let known = names.map { name in times.first { $0.name == name }?.time }
    nameWidth = names.map { Terminal.plain($0).count }.max() ?? 0
    timeWidth = known.map { Self.text(of: $0).count }.max() ?? 0
    let columns = max(Self.leastBarWidth, width - nameWidth - timeWidth - 4)
    let start = metadata.phases.first?.startTimestamp ?? metadata.startTimestamp
    let scale = Scale(
      start: start, end: metadata.phases.compactMap { $0.endTimestamp ?? now }.max() ?? start,
      columns: columns)
    rows = zip(names, known).map { name, time in
      let entries = metadata.phases.filter { $0.name == name }
      return Row(
        name: name, time: time,
        bars: entries.compactMap { entry in
          (entry.endTimestamp ?? now).map { scale.columns(from: entry.startTimestamp, to: $0) }
        })
    }
  }

  /// The lines, without an end of line.
  ///
  /// - Parameter isColoured: whether bars are drawn in reverse video instead of `#`.
  func lines(isColoured: Bool) -> [String] {
    rows.map { row in
      let name = Terminal.plain(row.name)
      let time = Self.text(of: row.time)
      var line =
        name + String(repeating: " ", count: nameWidth - name.count + 2 + timeWidth - time.count) + time
      var column = -2
      for bar in Self.joined(row.bars) {
        line += String(repeating: " ", count: bar.lowerBound - column)
        let filled = String(repeating: isColoured ? " " : "#", count: bar.count)
        line += isColoured ? "\u{1b}[7m\(filled)\u{1b}[0m" : filled
        column = bar.upperBound
      }
      return line
    }
  }

  /// Where the moments of a session are among the columns.
  private struct Scale {
    let start: Timestamp
    let end: Timestamp
    let columns: Int

    /// At least one column, so that nothing that happened is invisible.
    func columns(from: Timestamp, to: Timestamp) -> Range<Int> {
      let first = min(column(of: from), columns - 1)
      return first..<max(first + 1, column(of: to))
    }

    private func column(of moment: Timestamp) -> Int {
      let length = (end - start) / .nanoseconds(1)
      guard length > 0 else { return 0 }
      let share = (moment - start) / .nanoseconds(1) / length
      return Int((min(max(share, 0), 1) * Double(columns)).rounded())
    }
  }

  /// Bars in order, those that meet made one.
  private static func joined(_ bars: [Range<Int>]) -> [Range<Int>] {
    bars.sorted { $0.lowerBound < $1.lowerBound }.reduce(into: []) { joined, bar in
      if let last = joined.last, bar.lowerBound <= last.upperBound {
        joined[joined.count - 1] = last.lowerBound..<max(last.upperBound, bar.upperBound)
      } else {
        joined.append(bar)
      }
    }
  }

  private static func text(of time: Duration?) -> String { time.map(Terminal.span) ?? "?" }
}
