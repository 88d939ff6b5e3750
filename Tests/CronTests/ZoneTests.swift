// That the zones of this machine are read as they are: every transition of every one between 2020 and 2040.

import FoundationEssentials
import TestSupport
import Testing
import Time

@testable import Cron

@Suite("A zone")
struct ZoneTests {
  @Test("the machine has the zones that these tests are about")
  func enough() {
    #expect(InstalledZones.all.count >= 400)
    #expect(InstalledZones.distinct.count >= 50)
    #expect(InstalledZones.all.contains { $0.name == "Europe/Berlin" })
  }

  @Test("every transition of every zone is the one in its file, and there is no other")
  func transitions() throws {
    let range = InstalledZones.start..<InstalledZones.end
    var count = 0
    for entry in InstalledZones.all {
      let data = try #require(FileManager.default.contents(atPath: entry.path))
      let expected = try ZoneFile(data, years: 2019...2041).transitions(in: range)
      let found = entry.zone.transitions(in: range).map { [$0.second, $0.offset] }
      #expect(found == expected, "\(entry.name)")
      count += expected.count
    }
    #expect(count > 5000)
  }

  @Test(
    "the local time of every zone is glibc's: at every transition, at the second before, and at any time between"
  )
  func offsets() {
    var random = SplitMix64(seed: 1)
    for entry in InstalledZones.all {
      let transitions = entry.zone.transitions(in: InstalledZones.start..<InstalledZones.end)
      let borders = transitions.flatMap { [$0.second - 1, $0.second] }
      let anywhere = (0..<50).map { _ in
        Int64.random(in: InstalledZones.start..<InstalledZones.end, using: &random)
      }
      let wrong = SystemZone.asking(entry.name) {
        (borders + anywhere).filter { second in
          second + entry.zone.offset(at: Timestamp(secondsSinceEpoch: second)) != LocalClock.shown(at: second)
        }
      }
      #expect(wrong.isEmpty, "\(entry.name)")
    }
  }
}
