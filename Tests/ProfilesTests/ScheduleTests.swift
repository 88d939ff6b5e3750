// The keys of a profile that runs by itself: what each accepts and refuses, and how the zones are asked for.

import Cron
import Profiles
import Synchronization
import Testing
import Time

/// A profile with a repository and these lines.
private func scheduled(_ lines: String, name: String = "alpha") -> String {
  profile("repo = 'https://a/b'\n" + lines, name: name)
}

/// How the profile of a text runs by itself.
private func runs(_ lines: String) throws -> ScheduledRuns? {
  try configuration(scheduled(lines)).profiles[0].schedule
}

@Suite("A profile's schedule")
struct ScheduleTests {
  @Test("is read, goes by local time, without jitter, and allows overlaps unless told otherwise")
  func smallest() throws {
    let runs = try #require(try runs("schedule = '0 4 * * MON'"))
    #expect(runs.schedule.expression.text == "0 4 * * MON")
    #expect(runs.timezone == nil)
    #expect(runs.schedule.zone.name == "Test/Fixed")
    #expect(runs.zoneFile == "/zones/Test/Fixed")
    #expect(runs.schedule.jitter == .zero)
    #expect(runs.overlap == .allow)
    // Four o'clock on Monday the second of March, an hour ahead of UTC.
    #expect(runs.schedule.next(after: testNow)?.due.rfc3339 == "2026-03-02T03:00:00.000Z")
  }

  @Test("is read with zone, jitter and overlap")
  func complete() throws {
    let runs = try #require(
      try runs("schedule = '@daily'\ntimezone = 'Europe/Berlin'\njitter = '1h30m'\noverlap = 'skip'"))
    #expect(runs.timezone == "Europe/Berlin")
    #expect(runs.schedule.zone.name == "Europe/Berlin")
    #expect(runs.zoneFile == "/zones/Europe/Berlin")
    #expect(runs.schedule.jitter == .seconds(5400))
    #expect(runs.overlap == .skip)
    // Midnight in summer.
    let summer = testNow + .seconds(100 * 86_400)
    #expect(runs.schedule.next(after: summer)?.moment.rfc3339 == "2026-06-09T22:00:00.000Z")
  }

  @Test("draws its delays by the profile's name")
  func delaysByName() throws {
    let lines = "schedule = '@daily'\njitter = '12h'"
    let configuration = try configuration(scheduled(lines) + scheduled(lines, name: "beta"))
    let dues = configuration.profiles.map { $0.schedule?.schedule.next(after: testNow)?.due }
    #expect(dues[0] != dues[1])
    #expect(try runs(lines)?.schedule.next(after: testNow)?.due == dues[0])
  }

  @Test("says what is due next, a run among it that its jitter still delays")
  func upcoming() throws {
    let runs = try #require(try runs("schedule = '@daily'\njitter = '24h'"))
    let occurrences = runs.upcoming(3, from: testNow)
    #expect(occurrences.count == 3)
    #expect(occurrences.map(\.due) == occurrences.map(\.due).sorted())
    let first = try #require(occurrences.first)
    #expect(first.moment < first.due)
    // Up to the moment that it is due it is still to come, and then no more.
    #expect(runs.upcoming(1, from: first.due) == [first])
    #expect(runs.upcoming(2, from: first.due + .nanoseconds(1)) == Array(occurrences.dropFirst()))
  }

  @Test("says what is due next in another version of its zone, as far as that is known")
  func movedUpcoming() throws {
    let runs = try #require(
      try runs("schedule = '@daily'\ntimezone = 'Europe/Berlin'\noverlap = 'skip'"))
    let end = testNow + .seconds(2 * 86_400)
    let zone = Zone(name: "Europe/Berlin", offset: 0, transitions: [], end: end)
    let moved = runs.moved(to: zone)
    #expect(
      moved.upcoming(5, from: testNow).map(\.due.rfc3339) == [
        "2026-03-02T00:00:00.000Z", "2026-03-03T00:00:00.000Z",
      ])
    #expect(moved.timezone == runs.timezone)
    #expect(moved.zoneFile == runs.zoneFile)
    #expect(moved.overlap == .skip)
  }

  @Test("needs a repository")
  func needsRepository() {
    #expect(
      complaints(profile("schedule = '@daily'")) == ["schedule: needs a repository to run with; set repo"])
  }

  @Test("is refused with every field that is wrong, or why it never fires")
  func badExpression() {
    #expect(
      complaints(scheduled("schedule = '61 * 32 * *'")) == [
        "schedule: minute \"61\" is out of range: expected 0 to 59",
        "schedule: day-of-month \"32\" is out of range: expected 1 to 31, L for the last day, "
          + "LW for the last weekday or a form like 15W",
      ])
    #expect(complaints(scheduled("schedule = '0 0 31 2 *'")).first?.contains("can never fire") == true)
    #expect(complaints(scheduled("schedule = '0 0 0 * * *'")).first?.contains("has 6 fields") == true)
    #expect(complaints(scheduled("schedule = ''")).first?.contains("must not be empty") == true)
  }

  @Test("is refused when the clock of its zone leaves out every time that it names")
  func onlyInGaps() throws {
    let expression = "schedule = '*/15 2 * 3 SUNL'"
    #expect(
      complaints(scheduled("\(expression)\ntimezone = 'Europe/Berlin'")) == [
        "schedule: can never fire in \"Europe/Berlin\": the clock there leaves out every time that it names, as "
          + "far as is known (until 2076); change the hour, the days or the timezone"
      ])
    // A fixed time in a gap fires when the gap is over, and a zone without the gap has these times.
    #expect(try runs("schedule = '15 2 * 3 SUNL'\ntimezone = 'Europe/Berlin'") != nil)
    #expect(try runs(expression) != nil)
  }

  @Test("is needed by the keys that say more about it", arguments: ["timezone", "overlap", "jitter"])
  func detailsAlone(key: String) {
    #expect(
      complaints(scheduled("\(key) = 'x'")) == [
        "\(key): says nothing without a schedule; set schedule or take \(key) out"
      ])
  }

  @Test("names a zone that there is")
  func badZone() {
    #expect(
      complaints(scheduled("schedule = '@daily'\ntimezone = 'Europe/Berln'")) == [
        "timezone: \"Europe/Berln\" is not a zone of this test; use Europe/Berlin"
      ])
    #expect(
      complaints(scheduled("schedule = '@daily'\ntimezone = ''")) == [
        "timezone: must not be empty; set it or leave it out"
      ])
    #expect(
      complaints(scheduled("schedule = '@daily'\ntimezone = 1")) == [
        "timezone: must be a string, not an integer"
      ])
  }

  @Test(
    "takes allow and skip as overlap",
    arguments: [
      ("'skp'", "\"skp\" is not what overlap can be; did you mean \"skip\"?"),
      ("'Allow'", "\"Allow\" is not what overlap can be; did you mean \"allow\"?"),
      ("'queue'", "\"queue\" is not what overlap can be; use \"allow\" or \"skip\""),
      ("''", "must not be empty; set it or leave it out"),
      ("true", "must be a string, not a boolean"),
    ])
  func badOverlap(value: String, message: String) {
    #expect(
      complaints(scheduled("schedule = '@daily'\noverlap = \(value)")) == ["overlap: \(message)"])
  }

  @Test(
    "takes a jitter up to the shortest time between two runs",
    arguments: [
      ("*/15 * * * *", "15m", "15m1ms", "the 15m that"), ("* * * * *", "60s", "61s", "the 1m that"),
      ("5,50 3,23 * * *", "45m", "46m", "the 45m that"), ("@weekly", "24h", "25h", "a day"),
      ("0 23,1 * * *", "2h", "121m", "the 2h that"),
    ])
  func jitterLimit(expression: String, longest: String, tooLong: String, bound: String) throws {
    let head = "schedule = '\(expression)'\njitter = "
    let jitter = try #require(try runs("\(head)'\(longest)'")).schedule.jitter
    #expect(jitter == Duration(written: longest))
    let complaints = complaints(scheduled("\(head)'\(tooLong)'"))
    #expect(complaints.count == 1)
    #expect(complaints.first?.hasPrefix("jitter: \"\(tooLong)\" is longer than \(bound)") == true)
  }

  @Test("has no jitter when that is 0s")
  func noJitter() throws {
    #expect(try runs("schedule = '@daily'\njitter = '0s'")?.schedule.jitter == .zero)
  }

  @Test(
    "takes a jitter that is a duration", arguments: ["'soon'", "'-5s'", "'5'", "'1.5h'", "'5 s'", "'s'"])
  func badJitter(value: String) {
    let text = value.dropFirst().dropLast()
    #expect(
      complaints(scheduled("schedule = '@daily'\njitter = \(value)")) == [
        "jitter: \"\(text)\" is not a duration; write one like 30s, 5m, 1h or 500ms"
      ])
  }

  @Test("is told of with everything that is wrong at once")
  func allAtOnce() {
    let lines = "schedule = '0 0 1'\ntimezone = 'Mars/Base'\noverlap = 'x'\njitter = '25h'"
    #expect(
      problems(scheduled(lines)).map(\.field) == ["schedule", "timezone", "overlap", "jitter"])
  }

  @Test("asks for each zone once, and for the local one only when a profile goes by it")
  func zonesAreReadOnce() throws {
    let asked = Mutex<[String?]>([])
    var host = testHost()
    host.zone = { (name) throws(SystemZone.Failure) in
      asked.withLock { $0.append(name) }
      return try testZone(name)
    }
    let lines = "schedule = '@daily'\ntimezone = "
    let text = ["Europe/Berlin", "Test/Fixed", "Europe/Berlin", "Nowhere", "Nowhere"].enumerated().map {
      scheduled("\(lines)'\($1)'", name: "p\($0)")
    }
    let found = problems(text.joined() + profile(name: "idle"), host: host)
    #expect(
      found.map(\.profile) == ["p3", "p4"], "a failure is remembered, and told to each that it concerns")
    #expect(asked.withLock(\.self) == ["Europe/Berlin", "Test/Fixed", "Nowhere"])
    asked.withLock { $0 = [] }
    let locals = (0..<3).map { scheduled("schedule = '@daily'", name: "p\($0)") }.joined()
    _ = try configuration(locals, host: host)
    #expect(asked.withLock(\.self) == [nil])
  }

  @Test("is refused once for the file when the local time cannot be had, whatever else is wrong")
  func brokenLocalZone() throws {
    var host = testHost(environment: ["HOME": "/root", "TZ": "Mars/Base"])
    host.zone = { (name) throws(SystemZone.Failure) in
      guard name == nil else { return try testZone(name) }
      throw SystemZone.Failure(description: "is what TZ holds; correct it")
    }
    let local = scheduled("schedule = '@daily'") + scheduled("schedule = '@daily'", name: "beta")
    let found = problems(local, host: host)
    #expect(
      found.map(\.description) == ["/etc/agentd/agentd.toml: \"Mars/Base\" is what TZ holds; correct it"])
    #expect(problems(scheduled("schedule = '@daily'\ntimezone = 'Europe/Berlin'"), host: host).isEmpty)
  }

  @Test("is read for thousands of profiles with one reading of their zone")
  func manyProfiles() throws {
    let asked = Mutex(0)
    var host = testHost()
    host.zone = { (name) throws(SystemZone.Failure) in
      asked.withLock { $0 += 1 }
      return try testZone(name)
    }
    let lines = "repo='https://a/b'\nschedule='*/5 * * * *'\ntimezone='Europe/Berlin'"
    let text = (0..<5000).map { profile(lines, name: "p\($0)") }.joined()
    let configuration = try configuration(text, host: host)
    #expect(configuration.profiles.count { $0.schedule != nil } == 5000)
    #expect(asked.withLock(\.self) == 1)
  }
}

@Suite("A written duration")
struct DurationTextTests {
  @Test(
    "is a number with a unit, or several in a row",
    arguments: [
      ("500ms", 500), ("90s", 90_000), ("15m", 900_000), ("2h", 7_200_000), ("1d", 86_400_000),
      ("1h30m", 5_400_000), ("30m1h", 5_400_000), ("0s", 0), ("0", nil), ("", nil), ("s", nil), ("5", nil),
      ("-5s", nil), ("+5s", nil), ("1.5s", nil), (" 5s", nil), ("5S", nil), ("5 s", nil), ("5ß", nil),
      ("٥s", nil), ("1000000000000ms", 1_000_000_000_000), ("1000000000001ms", nil), ("11575d", nil),
      ("99999999999999999999s", nil), ("1000000000000d", nil),
    ])
  func reading(text: String, milliseconds: Int64?) {
    #expect(Duration(written: text) == milliseconds.map { .milliseconds($0) })
  }

  @Test(
    "is written in the longest units, and reads as itself",
    arguments: [
      (0, "0s"), (1, "1ms"), (61_000, "1m1s"), (900_000, "15m"), (5_400_000, "1h30m"), (86_400_000, "1d"),
      (90_061_001, "1d1h1m1s1ms"),
    ])
  func writing(milliseconds: Int64, text: String) {
    #expect(Duration.milliseconds(milliseconds).written == text)
    #expect(Duration(written: text) == .milliseconds(milliseconds))
    #expect(Duration.milliseconds(-5).written == "0s")
  }
}
