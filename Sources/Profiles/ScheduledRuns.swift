// How a profile runs by itself: its schedule, where the schedule's zone comes from, and what happens to overlaps.

public import Cron
public import Time

/// How a profile runs by itself.
public struct ScheduledRuns: Sendable {
  /// What happens to an occurrence while the session of an earlier one still runs.
  public enum Overlap: String, Sendable, CaseIterable {
    /// It starts a session all the same.
    case allow
    /// It is left out.
    case skip
  }

  /// When: expression, zone, jitter.
  public let schedule: Schedule
  /// The configured name of the zone; nil for the local time of the process.
  public let timezone: String?
  /// The file that the zone was read from; nil where there was none.
  public let zoneFile: String?
  /// What happens to an occurrence while the session of an earlier one still runs.
  public let overlap: Overlap

  /// Runs with these properties, which are taken to be checked.
  public init(schedule: Schedule, timezone: String?, zoneFile: String?, overlap: Overlap) {
    self.schedule = schedule
    self.timezone = timezone
    self.zoneFile = zoneFile
    self.overlap = overlap
  }

  /// The same in another version of its zone.
  public func moved(to zone: Zone) -> ScheduledRuns {
    ScheduledRuns(
      schedule: schedule.moved(to: zone), timezone: timezone, zoneFile: zoneFile, overlap: overlap)
  }

  /// The runs that are due next, in the order in which they are due; fewer than `count` when the zone is not known far
  /// enough.
  ///
  /// - Parameter moment: one that is due then is the first. So is one whose jitter ends after it, although its
  ///   occurrence lies before it.
  public func upcoming(_ count: Int, from moment: Timestamp) -> [Schedule.Occurrence] {
    var runs: [Schedule.Occurrence] = []
    // Less by a nanosecond, so that an occurrence at the very moment counts.
    var next = schedule.next(after: moment - schedule.jitter - .nanoseconds(1))
    // One more than asked for: where the clock is changed, a delayed run may be due after the next one.
    while let occurrence = next, runs.count <= count {
      if occurrence.due >= moment { runs.append(occurrence) }
      next = schedule.next(after: occurrence.moment)
    }
    return Array(runs.sorted { $0.due < $1.due }.prefix(count))
  }
}

extension ScheduledRuns {
  /// The keys beside `schedule`, which say nothing without it.
  private static let details = ["timezone", "overlap", "jitter"]
  /// All keys of a profile that are read here.
  static let keys = ["schedule"] + details

  /// Reads these keys of a `[[profiles]]` table; nil when it has no schedule, or after at least one report.
  ///
  /// - Parameters:
  ///   - section: The profile's table.
  ///   - name: The profile's name, which the delays are drawn from; nil when it is not valid.
  ///   - zones: The zones of this load. A failure to read the local one is left to be reported with the file.
  init?(_ section: Section, name: String?, zones: Zones) {
    guard section.has("schedule") else {
      for key in Self.details where section.has(key) {
        section.report(key, "says nothing without a schedule; set schedule or take \(key) out")
      }
      return nil
    }
    let expression = Self.expression(section)
    let zone = Self.zone(section, zones)
    let overlap = Self.overlap(section)
    let jitter = Self.jitter(section, expression)
    guard let expression, let zone, Self.canFire(expression, zone.zone, after: zones.now, section) else {
      return nil
    }
    guard let name, let overlap, let jitter else { return nil }
    self.init(
      schedule: Schedule(name: name, expression: expression, zone: zone.zone, jitter: jitter),
      timezone: section.string("timezone"), zoneFile: zone.file, overlap: overlap)
  }

  private static func expression(_ section: Section) -> CronExpression? {
    guard let text = section.filledString("schedule") else { return nil }
    if !section.has("repo") {
      section.report("schedule", "needs a repository to run with; set repo")
    }
    do {
      return try CronExpression(text)
    } catch {
      for problem in error.problems { section.report("schedule", problem.description) }
      return nil
    }
  }

  private static func zone(_ section: Section, _ zones: Zones) -> SystemZone? {
    guard section.has("timezone") else { return try? zones.zone(nil) }
    guard let name = section.filledString("timezone") else { return nil }
    do {
      return try zones.zone(name)
    } catch {
      section.report("timezone", "\(name.quoted) \(error)")
      return nil
    }
  }

  /// Whether there is an occurrence as far as the zone is known, which is farther than any expression has to wait for
  /// a day that matches. So when there is none, an interval names only hours that the clock leaves out.
  private static func canFire(
    _ expression: CronExpression, _ zone: Zone, after now: Timestamp, _ section: Section
  ) -> Bool {
    guard expression.next(atOrAfter: now, in: zone) == nil else { return true }
    section.report(
      "schedule",
      "can never fire in \(zone.name.quoted): the clock there leaves out every time that it names, as far as is "
        + "known (until \(zone.end.rfc3339.prefix(4))); change the hour, the days or the timezone")
    return false
  }

  private static func overlap(_ section: Section) -> Overlap? {
    guard section.has("overlap") else { return .allow }
    guard let text = section.filledString("overlap") else { return nil }
    if let overlap = Overlap(rawValue: text) { return overlap }
    let choices = Overlap.allCases.map(\.rawValue)
    let advice =
      nearest(to: text, among: choices).map { "did you mean \($0.quoted)?" }
      ?? "use \(choices.map(\.quoted).joined(separator: " or "))"
    section.report("overlap", "\(text.quoted) is not what overlap can be; \(advice)")
    return nil
  }

  /// Zero without the key, and for `0s`.
  private static func jitter(_ section: Section, _ expression: CronExpression?) -> Duration? {
    guard section.has("jitter") else { return .zero }
    guard let text = section.filledString("jitter") else { return nil }
    guard let jitter = Duration(written: text) else {
      section.report("jitter", "\(text.quoted) is not a duration; write one like 30s, 5m, 1h or 500ms")
      return nil
    }
    // Never more than a day, which is `jitterLimit`.
    let limit = expression.map { min($0.shortestInterval, Schedule.jitterLimit) } ?? Schedule.jitterLimit
    guard jitter <= limit else {
      let bound =
        limit == Schedule.jitterLimit
        ? "a day" : "the \(limit.written) that can lie between two runs of this schedule"
      section.report("jitter", "\(text.quoted) is longer than \(bound); use at most \(limit.written)")
      return nil
    }
    return jitter
  }
}
