// agentd schedule: what runs next by itself.

internal import ArgumentParser
internal import Cron
internal import JSON
internal import Profiles
internal import Reactor
internal import Time

struct Schedule: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "schedule",
    abstract: "List what runs next by itself: profile, local time, in how long.",
    discussion: """
      Sorted by time, jitter included. It needs no daemon, and says what a daemon with this configuration does when \
      it has the same local time: TZ, or else /etc/localtime.

      TIME is 2026-03-29T02:30:00+01:00 or 2026-03-29T01:30:00Z, or local time like 2026-03-29T02:30 or 2026-03-29. \
      IN is then counted from it.
      """)

  /// The most runs of one profile.
  static let countLimit = 1000
  /// The most runs in all.
  static let lineLimit = 100_000

  @OptionGroup var options: ConfigurationOptions

  @Argument(
    help: ArgumentHelp("Only these profiles, instead of all that have a schedule.", valueName: "profile"))
  var names: [String] = []

  @Option(help: ArgumentHelp("How many runs of each profile, at most \(countLimit).", valueName: "n"))
  var count = 1

  @Option(
    help: ArgumentHelp("The moment to look from, instead of now.", valueName: "time"),
    transform: NamedMoment.init)
  var from: NamedMoment?

  @Flag(help: "Print a JSON array instead of a table.")
  var json = false

  func validate() throws {
    guard (1...Self.countLimit).contains(count) else {
      throw ValidationError("--count is \(count); use 1 to \(Self.countLimit)")
    }
  }

  func run() throws {
    let profiles = try chosen(from: try options.load())
    guard profiles.count * count <= Self.lineLimit else {
      throw failure(
        "--count \(count) for \(profiles.count) profiles is more than \(Self.lineLimit) lines: name profiles, or "
          + "use at most \(Self.lineLimit / profiles.count).")
    }
    let start = try startingMoment()
    let zones = try zones(of: profiles.map(\.runs), around: start)
    var upcoming: [Upcoming] = []
    for (name, runs) in profiles {
      let runs = zones[runs.timezone].map(runs.moved) ?? runs
      let occurrences = runs.upcoming(count, from: start)
      upcoming += occurrences.map { Upcoming(profile: name, runs: runs, occurrence: $0, start: start) }
      if occurrences.isEmpty {
        let zone = runs.schedule.zone
        Terminal.complain(
          "Profile \(name) has no run from \(zone.text(of: start)) to \(zone.text(of: zone.end)), and what comes "
            + "after that is not known.")
      }
    }
    // The order of the file decides between those that are due together: the sort is stable.
    upcoming.sort { $0.occurrence.due < $1.occurrence.due }
    if json {
      print(printedJSON(upcoming))
    } else if !upcoming.isEmpty {
      print(Terminal.table(Upcoming.header, upcoming.map(\.row)))
    }
  }

  /// The profiles to list, in the order of the file. Says which of those that were asked for do not run by themselves.
  private func chosen(from configuration: Configuration) throws -> [(name: String, runs: ScheduledRuns)] {
    let unknown = names.filter { configuration.profile(named: $0) == nil }
    guard unknown.isEmpty else {
      let shown = 20
      let known =
        configuration.profiles.prefix(shown).map(\.name).joined(separator: ", ")
        + (configuration.profiles.count > shown ? " and others" : "")
      throw failure(
        unknown.map {
          "There is no profile \($0.prefix(64).debugDescription) in \(configuration.path): it has \(known)."
        }.joined(separator: "\n"))
    }
    let profiles = configuration.profiles.filter { names.isEmpty || names.contains($0.name) }
    let scheduled = profiles.compactMap { profile in profile.schedule.map { (profile.name, $0) } }
    if names.isEmpty, scheduled.isEmpty {
      Terminal.complain("No profile in \(configuration.path) has a schedule: none runs by itself.")
    }
    for profile in profiles where !names.isEmpty && profile.schedule == nil {
      Terminal.complain("Profile \(profile.name) has no schedule: it does not run by itself.")
    }
    return scheduled
  }

  private func startingMoment() throws -> Timestamp {
    switch from {
    case nil: Loop.wallClock
    case .exact(let moment): moment
    case .local(let local): try zone(nil, around: local).moment(ofLocal: local)
    }
  }

  /// The zones as they are around a moment, by their configured names; none when that is now, which the configuration
  /// was read for.
  private func zones(of runs: [ScheduledRuns], around moment: Timestamp) throws -> [String?: Zone] {
    guard from != nil else { return [:] }
    return try Set(runs.map(\.timezone)).reduce(into: [:]) { $0[$1] = try zone($1, around: moment) }
  }

  private func zone(_ name: String?, around moment: Timestamp) throws -> Zone {
    do {
      return try SystemZone(name, around: moment).zone
    } catch {
      throw failure("\((name ?? currentEnvironment()["TZ", default: ""]).debugDescription) \(error)")
    }
  }

  private func failure(_ sentence: String) -> ExitCode {
    Terminal.complain(sentence)
    return ExitCode(1)
  }
}

/// One run that is to come.
private struct Upcoming {
  static let header = ["PROFILE", "NEXT RUN", "JITTER", "IN", "TIMEZONE", "SCHEDULE"]

  let profile: String
  let runs: ScheduledRuns
  let occurrence: Cron.Schedule.Occurrence
  /// What it is counted from.
  let start: Timestamp

  private var milliseconds: UInt64 { (occurrence.due - start).wholeMilliseconds }

  var row: [String] {
    let schedule = runs.schedule
    let delay = (occurrence.due - occurrence.moment).wholeMilliseconds
    return [
      profile, schedule.zone.text(of: occurrence.due),
      schedule.jitter == .zero ? "-" : "+" + Terminal.age(milliseconds: delay),
      Terminal.age(milliseconds: milliseconds),
      schedule.zone.name, schedule.expression.text,
    ]
  }
}

/// What `--json` prints of it.
extension Upcoming: JSONObject {
  private enum Key: String, CodingKey {
    case profile, schedule, timezone, overlap, occurrence, due
    case jitterMilliseconds = "jitter_ms"
    case inMilliseconds = "in_ms"
  }

  func writeFields(to json: inout JSONWriter) {
    let schedule = runs.schedule
    json.field(Key.due, schedule.zone.text(of: occurrence.due))
    json.field(Key.inMilliseconds, milliseconds)
    json.field(Key.jitterMilliseconds, schedule.jitter.wholeMilliseconds)
    json.field(Key.occurrence, schedule.zone.text(of: occurrence.moment))
    json.field(Key.overlap, runs.overlap.rawValue)
    json.field(Key.profile, profile)
    json.field(Key.schedule, schedule.expression.text)
    json.field(Key.timezone, schedule.zone.name)
  }
}
