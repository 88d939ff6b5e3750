// The phases of a session by its record: how one follows another, and how long each took.

public import Time

extension Metadata.Course {
  /// Ends the phase that lasts, if one does, and begins another. A name may come again.
  public mutating func beginPhase(_ name: String, at moment: Timestamp) {
    endPhase(at: moment)
    phases.append(Metadata.Phase(name: name, startTimestamp: moment))
  }

  /// Ends the phase that lasts, if one does; not before its beginning, whatever was done to the clock.
  public mutating func endPhase(at moment: Timestamp) {
    guard let last = phases.indices.last, phases[last].endTimestamp == nil else { return }
    phases[last].endTimestamp = max(moment, phases[last].startTimestamp)
  }
}

extension Metadata {
  /// How long the session spent in each phase, those of one name together, in the order in which they first came.
  ///
  /// - Parameter now: the end of a phase that still lasts; without it, such a phase is not counted.
  public func phaseTimes(until now: Timestamp? = nil) -> [(name: String, time: Duration)] {
    var times: [(name: String, time: Duration)] = []
    times.reserveCapacity(course.phases.count)
    for phase in course.phases {
      guard let end = phase.endTimestamp ?? now else { continue }
      let time = max(.zero, end - phase.startTimestamp)
      if let known = times.firstIndex(where: { $0.name == phase.name }) {
        times[known].time += time
      } else {
        times.append((phase.name, time))
      }
    }
    return times
  }

  /// From the start of the session to the last moment that is known of it: for a complete record, to its publishing.
  public var duration: Duration { max(.zero, lastTimestamp - origin.startTimestamp) }

  /// The last moment that is known of the session.
  private var lastTimestamp: Timestamp {
    course.phases.last?.endTimestamp ?? course.endTimestamp ?? course.phases.last?.startTimestamp
      ?? origin.startTimestamp
  }
}
