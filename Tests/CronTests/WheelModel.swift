// The wheel as one would write it without a thought for cost: every occurrence in a list, every fired one in a set.

import Time

@testable import Cron

/// Says what the wheel has to say next. It knows the occurrences of a stretch of time only.
struct WheelModel {
  private struct Entry {
    /// All of them, as they are due.
    let occurrences: [Schedule.Occurrence]
    /// What is due before this is settled.
    var from: Timestamp
    private var fired: Set<Timestamp> = []
    /// How many runs the fired ones make up, with none between that was left out.
    private(set) var stretches = 0

    init(occurrences: [Schedule.Occurrence], from: Timestamp) {
      self.occurrences = occurrences
      self.from = from
    }

    /// Those that are neither settled nor fired.
    var open: some Sequence<Schedule.Occurrence> {
      occurrences[occurrences.firstIndex(atOrAfter: from)...].lazy.filter { !fired.contains($0.moment) }
    }

    mutating func fire(_ occurrence: Schedule.Occurrence) {
      let place = occurrences.firstIndex(atOrAfter: occurrence.due)
      let neighbours = [place - 1, place + 1].filter { occurrences.indices.contains($0) }
      stretches += 1 - neighbours.count { fired.contains(occurrences[$0].moment) }
      fired.insert(occurrence.moment)
    }
  }

  private var entries: [Entry]

  init(_ schedules: [Schedule], at now: Timestamp, knowing range: ClosedRange<Timestamp>) {
    entries = schedules.map { schedule in
      var occurrences: [Schedule.Occurrence] = []
      var moment = range.lowerBound
      while let next = schedule.next(after: moment), next.moment <= range.upperBound {
        occurrences.append(next)
        moment = next.moment
      }
      return Entry(occurrences: occurrences, from: now)
    }
  }

  /// The most that any schedule has had.
  private(set) var stretches = 0

  mutating func clockWasSet(to now: Timestamp) {
    for index in entries.indices { entries[index].from = min(entries[index].from, now) }
  }

  /// The earliest due moment, and whose it is.
  var next: (due: Timestamp, index: Int)? {
    let firsts = entries.enumerated().compactMap { index, entry in
      entry.open.first { _ in true }.map { ($0.due, index) }
    }
    return firsts.min { $0 < $1 }
  }

  mutating func takeEvent(at now: Timestamp) -> Wheel.Event? {
    guard let (due, index) = next, due <= now else { return nil }
    var late: [Schedule.Occurrence] = []
    for occurrence in entries[index].open {
      guard occurrence.due <= now, now - occurrence.due >= Wheel.grace else {
        if !late.isEmpty { break }
        entries[index].fire(occurrence)
        stretches = max(stretches, entries[index].stretches)
        return .fired(index: index, occurrence)
      }
      late.append(occurrence)
    }
    entries[index].from = now - Wheel.grace + .nanoseconds(1)
    return .missed(index: index, count: late.count, first: late[0].moment)
  }
}

extension [Schedule.Occurrence] {
  /// The place of the first that is due at or after a moment.
  fileprivate func firstIndex(atOrAfter due: Timestamp) -> Int {
    var low = 0
    var high = count
    while low < high {
      let middle = (low + high) / 2
      if self[middle].due < due { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
