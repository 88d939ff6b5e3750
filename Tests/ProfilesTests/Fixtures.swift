// A host and a smallest configuration for the tests to change.

import Cron
import Profiles
import Time

/// The moment that the tests' configurations are read at: noon of the first of March 2026, a Sunday, in UTC.
let testNow = Timestamp(secondsSinceEpoch: 1_772_366_400)

/// Two zones, Europe/Berlin and Test/Fixed, which is the local one and an hour ahead of UTC.
@Sendable func testZone(_ name: String?) throws(SystemZone.Failure) -> SystemZone {
  switch name {
  case nil, "Test/Fixed":
    return SystemZone(fixed("Test/Fixed", 3600), file: "/zones/Test/Fixed")
  case "Europe/Berlin":
    return SystemZone(berlin, file: "/zones/Europe/Berlin")
  default: throw SystemZone.Failure(description: "is not a zone of this test; use Europe/Berlin")
  }
}

private func fixed(_ name: String, _ offset: Int64) -> Zone {
  Zone(name: name, offset: offset, transitions: [], end: testNow + SystemZone.horizon)
}

/// An hour ahead of UTC, and two from the last Sunday of March to that of October, each at one o'clock in UTC.
private let berlin: Zone = {
  let end = testNow + SystemZone.horizon
  let transitions = (2026...2080).flatMap { year in
    [(3, 7200), (10, 3600)].map { month, offset in
      let last = CivilDate(firstOf: Int64(month), in: Int64(year)).daysSinceEpoch + 30
      let sunday = last - (last + 4) % 7
      return Zone.Transition(second: sunday * 86_400 + 3600, offset: Int64(offset))
    }
  }
  return Zone(
    name: "Europe/Berlin", offset: 3600,
    transitions: transitions.filter { $0.second < end.secondsSinceEpoch }, end: end)
}()

/// A root's host with a HOME, on which every path exists but those below /missing.
func testHost(
  environment: [String: String] = ["HOME": "/root"], effectiveUserID: UInt32 = 0
) -> Host {
  Host(
    environment: environment, effectiveUserID: effectiveUserID, workingDirectory: "/srv/here",
    exists: { !$0.hasPrefix("/missing") }, cores: 2, memory: 64 << 30, now: testNow, zone: testZone)
}

/// A valid profile, with lines of its own after its fields and one field left out.
func profile(_ lines: String = "", name: String = "alpha", without left: String? = nil) -> String {
  let fields = [
    ("name", "\"\(name)\""), ("base_image", "\"image:1\""), ("methodology_dir", "\"method\""),
    ("command", "[\"/bin/true\"]"),
  ]
  let kept = fields.filter { $0.0 != left }.map { "\($0.0) = \($0.1)" }
  return (["[[profiles]]"] + kept + [lines]).joined(separator: "\n") + "\n"
}

/// A valid profile in which one field has another value, as TOML.
func profile(_ field: String, _ value: String) -> String {
  profile("\(field) = \(value)", without: field)
}

/// A valid profile with a mount.
func mount(source: String = "/srv/data", target: String) -> String {
  profile("[[profiles.mounts]]\nsource = '\(source)'\ntarget = '\(target)'\nread_only = true")
}

/// What /etc/agentd/agentd.toml would say with this text in it.
func configuration(_ text: String, host: Host = testHost()) throws -> Configuration {
  try Configuration.parse(text, path: "/etc/agentd/agentd.toml", host: host)
}

/// The problems of a text, none when it is valid.
func problems(_ text: String, host: Host = testHost()) -> [Problem] {
  do {
    _ = try Configuration.parse(text, path: "/etc/agentd/agentd.toml", host: host)
    return []
  } catch {
    return error.problems
  }
}

/// The problems of a text as `field: message`.
func complaints(_ text: String, host: Host = testHost()) -> [String] {
  problems(text, host: host).map { "\($0.field ?? "-"): \($0.message)" }
}
