// Which names stand for a zone of this machine, what TZ may hold, and that a question leaves no trace.

import Glibc
import TestSupport
import Testing
import Time

@testable import Cron

@Suite("A zone of the system")
struct SystemZoneTests {
  private static let moment = Timestamp(secondsSinceEpoch: seconds("2026-03-30T00:00:00Z"))

  @Test("a zone tells local time with its offset")
  func text() throws {
    let berlin = try SystemZone("Europe/Berlin", around: Self.moment)
    #expect(berlin.file == "/usr/share/zoneinfo/Europe/Berlin")
    #expect(berlin.zone.name == "Europe/Berlin")
    let change = seconds("2026-10-25T01:00:00Z")
    #expect(berlin.zone.text(of: Timestamp(secondsSinceEpoch: change - 1)) == "2026-10-25T02:59:59+02:00")
    #expect(berlin.zone.text(of: Timestamp(secondsSinceEpoch: change)) == "2026-10-25T02:00:00+01:00")
    let half = Timestamp(secondsSinceEpoch: change) - .milliseconds(500)
    #expect(berlin.zone.text(of: half) == "2026-10-25T02:59:59.500+02:00")
    let john = try SystemZone("America/St_Johns", around: Self.moment)
    #expect(john.zone.text(of: Self.moment) == "2026-03-29T21:30:00-02:30")
    #expect(Zone.utc.text(of: Self.moment) == "2026-03-30T00:00:00+00:00")
  }

  @Test("a zone is known from two days before the moment that it is read for until 50 years after")
  func stretch() throws {
    let zone = try SystemZone("Europe/Berlin", around: Self.moment).zone
    #expect(zone.end == Self.moment + SystemZone.horizon)
    #expect(SystemZone.horizon >= .seconds(50 * 365 * 86_400))
    // The change of the day before is known.
    #expect(zone.offset(at: Timestamp(secondsSinceEpoch: seconds("2026-03-29T00:59:59Z"))) == 3600)
    #expect(zone.offset(at: Timestamp(secondsSinceEpoch: seconds("2026-03-29T01:00:00Z"))) == 7200)
    let transitions = zone.transitions(in: Self.moment.secondsSinceEpoch..<zone.end.secondsSinceEpoch)
    #expect(transitions.count == 100)
  }

  @Test(
    "what names no zone of this machine is refused with a sentence that ends the question",
    arguments: [
      ("", "is not the name of a zone; use one like Europe/Berlin"),
      ("Europe/Berlin ", "is not the name of a zone; use one like Europe/Berlin"),
      ("../zoneinfo/Europe/Berlin", "is not the name of a zone; use one like Europe/Berlin"),
      ("/usr/share/zoneinfo/Europe/Berlin", "is not the name of a zone; use one like Europe/Berlin"),
      ("CET-1CEST,M3.5.0,M10.5.0/3", "is not the name of a zone; use one like Europe/Berlin"),
      (":UTC", "is not the name of a zone; use one like Europe/Berlin"),
      ("Europe/Berlin\u{0}", "is not the name of a zone; use one like Europe/Berlin"),
      (
        "Europa/Berlin",
        "is not a zone of this machine; use one of /usr/share/zoneinfo such as Europe/Berlin, "
      ),
      ("Europe", "is not a zone of this machine; use one of /usr/share/zoneinfo such as Europe/Berlin, "),
      (
        "leapseconds", "is not a zone of this machine; use one of /usr/share/zoneinfo such as Europe/Berlin, "
      ),
    ])
  func refused(name: String, start: String) {
    let failure = #expect(throws: SystemZone.Failure.self) { try SystemZone(name, around: Self.moment) }
    #expect(failure?.description.hasPrefix(start) == true, "\(failure?.description ?? "accepted")")
  }

  @Test("a name that is longer than any zone's is refused")
  func longName() {
    #expect(throws: SystemZone.Failure.self) {
      try SystemZone(String(repeating: "a/", count: 1000), around: Self.moment)
    }
  }

  // In a process of its own: TZ is the process's.
  @Test("local time is what TZ says in each of its forms", .exitTest)
  func localTime() async {
    await #expect(processExitsWith: .success) {
      let summer = Timestamp(secondsSinceEpoch: seconds("2026-07-01T00:00:00Z"))
      let forms: [(tz: String, name: String, file: String?, offset: Int64)] = [
        ("Europe/Berlin", "Europe/Berlin", "/usr/share/zoneinfo/Europe/Berlin", 7200),
        (":Europe/Berlin", ":Europe/Berlin", "/usr/share/zoneinfo/Europe/Berlin", 7200),
        (
          "/usr/share/zoneinfo/Asia/Tokyo", "/usr/share/zoneinfo/Asia/Tokyo",
          "/usr/share/zoneinfo/Asia/Tokyo", 32_400
        ),
        ("CET-1CEST,M3.5.0,M10.5.0/3", "CET-1CEST,M3.5.0,M10.5.0/3", nil, 7200),
        ("<+0330>-3:30", "<+0330>-3:30", nil, 12_600),
        ("UTC0", "UTC0", nil, 0),
        ("", "UTC", nil, 0),
      ]
      for form in forms {
        setenv("TZ", form.tz, 1)
        let local = try SystemZone(nil, around: summer)
        #expect(local.zone.name == form.name && local.file == form.file)
        #expect(local.zone.offset(at: summer) == form.offset, "\(form.tz)")
        // What it asked for another zone is not to be seen afterwards.
        _ = try SystemZone("Asia/Tokyo", around: summer)
        #expect(getenv("TZ").map { String(cString: $0) } == form.tz)
        #expect(LocalClock.shown(at: summer.secondsSinceEpoch) - summer.secondsSinceEpoch == form.offset)
      }
      unsetenv("TZ")
      #expect(try SystemZone(nil, around: summer).file == "/etc/localtime")
      #expect(getenv("TZ") == nil)
    }
  }

  @Test(
    "TZ with a name of nowhere is refused, where glibc would silently take UTC for it", .exitTest,
    arguments: ["Nowhere/City", "X", "Berlin"])
  func wrongLocalTime(tz: String) async {
    await #expect(processExitsWith: .success) { [tz] in
      setenv("TZ", tz, 1)
      let failure = #expect(throws: SystemZone.Failure.self) {
        try SystemZone(nil, around: Timestamp(secondsSinceEpoch: 0))
      }
      #expect(failure?.description.hasPrefix("is what TZ holds, and it names no zone") == true)
    }
  }

  // In a process of its own: TZ is the process's.
  @Test("local time is never that of a zone that another thread reads", .exitTest)
  func readAtOnce() async {
    await #expect(processExitsWith: .success) {
      setenv("TZ", "UTC0", 1)
      let moment = Timestamp(secondsSinceEpoch: seconds("2026-07-01T00:00:00Z"))
      await withTaskGroup(of: Void.self) { group in
        for name in ["Asia/Tokyo", nil] {
          group.addTask {
            for _ in 0..<50 {
              let zone = try? SystemZone(name, around: moment).zone
              #expect(zone?.name == name ?? "UTC0")
            }
          }
        }
      }
    }
  }

  // In a process of its own: TZ and TZDIR are the process's.
  @Test("UTC is known on a machine without tzdata, and nothing else is", .exitTest)
  func withoutTzdata() async {
    await #expect(processExitsWith: .success) {
      setenv("TZDIR", "/nonexistent", 1)
      let moment = Timestamp(secondsSinceEpoch: seconds("2026-07-01T00:00:00Z"))
      for name in ["UTC", "Etc/UTC", "GMT"] {
        let named = try SystemZone(name, around: moment)
        #expect(named.zone.name == name && named.file == nil)
        #expect(named.zone.segments.map(\.offset) == [0])
        for form in [name, ":" + name] {
          setenv("TZ", form, 1)
          let local = try SystemZone(nil, around: moment)
          #expect(local.file == nil && local.zone.segments.map(\.offset) == [0], "\(form)")
        }
      }
      setenv("TZ", "Europe/Berlin", 1)
      for name in [nil, "Europe/Berlin"] {
        let failure = #expect(throws: SystemZone.Failure.self) { try SystemZone(name, around: moment) }
        #expect(failure?.description.hasSuffix("or install tzdata") == true)
      }
    }
  }

  @Test("a file that was put in the place of another has another stamp, and a missing one has none")
  func stamps() {
    let berlin = SystemZone.stamp(of: "/usr/share/zoneinfo/Europe/Berlin")
    #expect(berlin != nil && berlin == SystemZone.stamp(of: "/usr/share/zoneinfo/Europe/Berlin"))
    #expect(berlin != SystemZone.stamp(of: "/usr/share/zoneinfo/Asia/Tokyo"))
    #expect(SystemZone.stamp(of: "/usr/share/zoneinfo/Europa/Berlin") == nil)
  }
}
