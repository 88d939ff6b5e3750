// The verb that says what runs next: its table, its JSON, its moments, and what it refuses.

import Testing

extension EndToEnd {
  @Suite("`agentd schedule`")
  struct ScheduleTests {
    /// A profile that needs neither an image nor a repository to be looked at.
    private func profile(_ name: String, _ schedule: String?, timezone: String? = nil) -> Profile {
      var profile = Profile(name: name, command: ["true"])
      profile.image = "localhost/none"
      profile.repository = "https://git.example.org/a/b.git"
      profile.schedule = schedule
      profile.timezone = timezone
      return profile
    }

    private func rows(_ run: Ended) -> [[String]] {
      run.text.split(separator: "\n").dropFirst().map { line in
        // Two blanks part the columns; one can be part of a field.
        line.split(separator: "  ").map { $0.drop { $0 == " " } }.filter { !$0.isEmpty }.map(String.init)
      }
    }

    @Test("prints a table of the next runs by time, each in its own zone, without a daemon")
    func table() throws {
      let fixed = profile("fixed", "30 2 * * *", timezone: "Europe/Berlin")
      let hourly = profile("hourly", "@hourly", timezone: "Asia/Kathmandu")
      try withDaemon(fixed, profile("manual", nil), hourly, starting: false) { daemon in
        let run = try daemon.agentd("schedule", "--from", "2026-01-05T12:00:00Z")
        #expect(run.status == .exited(0))
        #expect(run.errors == "")
        #expect(
          run.text == """
            PROFILE  NEXT RUN                   JITTER  IN       TIMEZONE        SCHEDULE
            hourly   2026-01-05T18:00:00+05:45  -       15m 00s  Asia/Kathmandu  @hourly
            fixed    2026-01-06T02:30:00+01:00  -       13h 30m  Europe/Berlin   30 2 * * *

            """)
        let narrowed = try daemon.agentd(
          "schedule", "fixed", "--count", "2", "--from", "2026-01-05T12:00:00Z")
        #expect(rows(narrowed).map { $0[0] } == ["fixed", "fixed"])
        #expect(rows(narrowed).map { $0[3] } == ["13h 30m", "1d 13h"])
      }
    }

    @Test("looks from now unless told otherwise")
    func now() throws {
      try withDaemon(profile("site", "* * * * *"), starting: false) { daemon in
        let run = try JSON(parsing: try daemon.agentd("schedule", "--json").text).elements
        #expect(run.count == 1)
        #expect(run.first?["in_ms"]?.integer.map { (0...60_000).contains($0) } == true)
      }
    }

    @Test("shows a skipped hour: a fixed time after it, an interval without it")
    func gap() throws {
      let fixed = profile("fixed", "30 2 * * *", timezone: "Europe/Berlin")
      let interval = profile("interval", "*/30 * * * *", timezone: "Europe/Berlin")
      try withDaemon(fixed, interval, starting: false) { daemon in
        let from = "2026-03-28T12:00:00+01:00"
        let days = try daemon.agentd("schedule", "fixed", "--count", "3", "--from", from)
        #expect(
          rows(days).map { $0[1] } == [
            "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00", "2026-03-31T02:30:00+02:00",
          ])
        let halves = try daemon.agentd(
          "schedule", "interval", "--count", "3", "--from", "2026-03-29T01:30:00+01:00")
        #expect(
          rows(halves).map { $0[1] } == [
            "2026-03-29T01:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00",
          ])
      }
    }

    @Test("shows a repeated hour: a fixed time in the first, an interval in both")
    func repeated() throws {
      let fixed = profile("fixed", "30 2 * * *", timezone: "Europe/Berlin")
      let interval = profile("interval", "30 * * * *", timezone: "Europe/Berlin")
      try withDaemon(fixed, interval, starting: false) { daemon in
        let run = try daemon.agentd("schedule", "--count", "3", "--from", "2026-10-25T01:45:00+02:00")
        #expect(
          rows(run).map { Array($0[0...1]) } == [
            ["fixed", "2026-10-25T02:30:00+02:00"], ["interval", "2026-10-25T02:30:00+02:00"],
            ["interval", "2026-10-25T02:30:00+01:00"], ["interval", "2026-10-25T03:30:00+01:00"],
            ["fixed", "2026-10-26T02:30:00+01:00"], ["fixed", "2026-10-27T02:30:00+01:00"],
          ])
      }
    }

    @Test("--json prints an array with the occurrence, what is due, and how the profile runs")
    func json() throws {
      var delayed = profile("delayed", "0 6 * * MON", timezone: "Europe/Berlin")
      delayed.jitter = "2h"
      delayed.overlap = "skip"
      try withDaemon(delayed, starting: false) { daemon in
        let from = "2026-01-05T00:00:00+01:00"
        let run = try daemon.agentd("schedule", "--json", "--from", from)
        let items = try JSON(parsing: run.text).elements
        #expect(items.count == 1)
        let item = try #require(items.first)
        #expect(
          item.keys == [
            "profile", "schedule", "timezone", "overlap", "jitter_ms", "occurrence", "due", "in_ms",
          ])
        #expect(item["profile"]?.string == "delayed")
        #expect(item["schedule"]?.string == "0 6 * * MON")
        #expect(item["timezone"]?.string == "Europe/Berlin")
        #expect(item["overlap"]?.string == "skip")
        #expect(item["jitter_ms"]?.integer == 7_200_000)
        #expect(item["occurrence"]?.string == "2026-01-05T06:00:00+01:00")
        let wait = try #require(item["in_ms"]?.integer)
        #expect((6 * 3_600_000..<8 * 3_600_000).contains(wait))
        let due = try #require(item["due"]?.string)
        #expect(due.hasPrefix("2026-01-05T0\(wait / 3_600_000):"))
        // The delay is of the profile and the instant, so it is the same whenever it is asked for.
        let table = try daemon.agentd("schedule", "--from", "2026-01-04T00:00:00+01:00")
        #expect(rows(table).first?[1] == due)
        #expect(rows(table).first?[2].first == "+")
      }
    }

    @Test(
      "takes local time for --from, and in a skipped hour the moment after it",
      arguments: [
        ("2026-03-08T02:30", "2026-03-08T03:00:00-04:00"), ("2026-03-08 02:30", "2026-03-08T03:00:00-04:00"),
        ("2026-03-08T00:30:01.5", "2026-03-08T01:00:00-05:00"), ("2026-03-08", "2026-03-08T00:00:00-05:00"),
        ("2026-03-08 00:00:00", "2026-03-08T00:00:00-05:00"),
        ("2026-03-08 05:10:00Z", "2026-03-08T01:00:00-05:00"),
        ("1700-01-01T00:00:00Z", "1699-12-31T20:00:00-04:56"), ("2250-07-01", "2250-07-01T00:00:00-04:00"),
      ])
    func localMoment(from: String, first: String) throws {
      try withDaemon(profile("site", "@hourly"), starting: false) { daemon in
        daemon.clientEnvironment["TZ"] = "America/New_York"
        let run = try daemon.agentd("schedule", "--from", from)
        #expect(run.status == .exited(0), "\(run.errors)")
        #expect(rows(run).first?[1] == first)
      }
    }

    @Test(
      "refuses a --from that is no time, with the forms that are",
      arguments: [
        "", "tomorrow", "2026-13-01", "2026-02-30", "2026-03-29T25:00", "03:00", "2026-03-29T02:30Z",
        "1600-01-01",
      ])
    func badMoment(from: String) throws {
      try withDaemon(profile("site", "@hourly"), starting: false) { daemon in
        let run = try daemon.agentd("schedule", "--from", from)
        #expect(run.status == .exited(64))
        #expect(run.text == "")
        #expect(run.errors.contains("or in local time, like 2026-03-29T02:30 or 2026-03-29"))
      }
    }

    @Test("refuses a --count beyond its limits", arguments: ["0", "1001", "some"])
    func badCount(count: String) throws {
      try withDaemon(profile("site", "@hourly"), starting: false) { daemon in
        let run = try daemon.agentd("schedule", "--count", count)
        #expect(run.status == .exited(64))
        #expect(run.errors.contains("1000"))
        #expect(run.text == "")
      }
    }

    @Test("prints no more lines than anybody can read")
    func lineLimit() throws {
      try withDaemon(profile("site", "@hourly"), starting: false) { daemon in
        try daemon.configure((0..<101).map { profile("site\($0)", "@hourly") })
        let run = try daemon.agentd("schedule", "--count", "1000")
        #expect(run.status == .exited(1))
        #expect(run.text == "")
        #expect(run.errors.contains("name profiles, or use at most 990"))
        let most = try daemon.agentd("schedule", "--count", "990")
        #expect(rows(most).count == 101 * 990)
      }
    }

    @Test("names a profile that does not exist, and those that do")
    func unknownProfile() throws {
      try withDaemon(profile("site", "@hourly"), profile("shell", nil), starting: false) { daemon in
        let run = try daemon.agentd("schedule", "site", "sites")
        #expect(run.status == .exited(1))
        #expect(run.text == "")
        #expect(
          run.errors == "agentd: There is no profile \"sites\" in \(daemon.config): it has site, shell.\n")
      }
    }

    @Test("says that nothing runs by itself where that is so")
    func noSchedule() throws {
      try withDaemon(profile("shell", nil), starting: false) { daemon in
        let all = try daemon.agentd("schedule")
        #expect(all.status == .exited(0))
        #expect(all.text == "")
        #expect(all.errors == "agentd: No profile in \(daemon.config) has a schedule: none runs by itself.\n")
        let one = try daemon.agentd("schedule", "shell", "--json")
        #expect(one.status == .exited(0))
        #expect(try JSON(parsing: one.text) == .array([]))
        #expect(one.errors == "agentd: Profile shell has no schedule: it does not run by itself.\n")
      }
    }

    @Test("tells of a problem in the configuration as `agentd check` does")
    func brokenConfiguration() throws {
      let broken = profile("site", "@hourly", timezone: "Europe/Nowhere")
      try withDaemon(broken, profile("local", "61 * * * *"), starting: false) { daemon in
        let check = try daemon.agentd("check")
        let run = try daemon.agentd("schedule")
        #expect(run.status == .exited(1))
        #expect(run.errors == check.errors)
        #expect(
          run.errors.contains("profile site, timezone: \"Europe/Nowhere\" is not a zone of this machine"))
        #expect(run.errors.contains("profile local, schedule: minute \"61\" is out of range"))
      }
    }

    @Test("refuses a TZ that names no zone, once, and only where a profile goes by it")
    func brokenLocalZone() throws {
      let local = [profile("a", "@hourly"), profile("b", "@hourly")]
      try withDaemon(profile("berlin", "@hourly", timezone: "Europe/Berlin"), starting: false) { daemon in
        daemon.clientEnvironment["TZ"] = "Mars/Base"
        #expect(try daemon.agentd("schedule").status == .exited(0))
        let from = try daemon.agentd("schedule", "--from", "2026-01-01")
        #expect(from.status == .exited(1))
        #expect(from.lastLine.hasPrefix("agentd: \"Mars/Base\" is what TZ holds"))
        try daemon.configure(local)
        let run = try daemon.agentd("schedule")
        #expect(run.status == .exited(1))
        #expect(run.errors.hasPrefix("agentd: \(daemon.config): \"Mars/Base\" is what TZ holds"))
        #expect(run.errors.split(separator: "\n").count == 1)
      }
    }

    @Test("ends quietly when its reader has gone")
    func closedPipe() throws {
      try withDaemon(profile("site", "@hourly"), starting: false) { daemon in
        let script = "'\(Host.agentd)' schedule --count 1000 --config '\(daemon.config)' | head -n 1"
        let shell = try Program("/bin/sh", ["-c", script], directory: "\(daemon.home)/io", name: "shell")
        #expect(try shell.wait() == .exited(0))
        #expect(shell.output.text.hasPrefix("PROFILE"))
        #expect(shell.output.lines.count == 1)
        #expect(shell.errors.text == "")
      }
    }

    @Test("`agentd check` says how a profile runs by itself, and when it does so next")
    func check() throws {
      var delayed = profile("delayed", "0 6 * * MON", timezone: "Europe/Berlin")
      delayed.jitter = "90m"
      delayed.overlap = "skip"
      try withDaemon(delayed, starting: false) { daemon in
        let lines = try daemon.agentd("check").text.split(separator: "\n")
        for line in [
          "  schedule    0 6 * * MON", "  timezone    Europe/Berlin", "  jitter      less than 1h30m",
          "  overlap     skip",
        ] {
          #expect(lines.contains { $0 == line }, "\(line)")
        }
        #expect(
          lines.contains { $0.hasPrefix("  next run    20") && $0.contains("+0") && $0.contains(", in ") })
        try daemon.configure([profile("site", "@hourly")])
        daemon.clientEnvironment["TZ"] = "Asia/Kathmandu"
        let local = try daemon.agentd("check").text.split(separator: "\n")
        for line in [
          "  timezone    Asia/Kathmandu (local time)", "  jitter      none", "  overlap     allow",
        ] {
          #expect(local.contains { $0 == line }, "\(line)")
        }
      }
    }
  }
}
