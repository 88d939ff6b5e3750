// What agentd says of when expressions fire, against two implementations by others: agreement.py writes what they say.

import FoundationEssentials
import Glibc
import Testing
import Time

@testable import Cron

/// The file that agreement.py has written.
private let path = getenv("AGENTD_AGREEMENT").map { String(cString: $0) }

@Suite("Beside cronsim and croniter", .enabled(if: path != nil))
struct AgreementTests {
  @Test("an expression fires next when others say that it does, at 100,000 instants of all zones")
  func agreement() throws {
    let path = try #require(path)
    let text = String(decoding: try #require(FileManager.default.contents(atPath: path)), as: UTF8.self)
    let zones = Dictionary(uniqueKeysWithValues: InstalledZones.all.map { ($0.name, $0.zone) })
    var seen: Set<String> = []
    var compared = 0
    var different: [String] = []
    for line in text.split(separator: "\n") {
      let parts = line.split(separator: "\t")
      let name = String(parts[1])
      let moment = Timestamp(secondsSinceEpoch: try #require(Int64(parts[2])))
      // Nil for -, of which only a few are right.
      let expected = Int64(parts[3])
      var zone = try #require(zones[name])
      if let expected, expected >= zone.end.secondsSinceEpoch {
        zone = try SystemZone(name, around: moment).zone
      }
      // What can never fire is refused, which is another way to say that there is no next time.
      let found = (try? CronExpression(String(parts[0])))?.next(after: moment, in: zone)?.secondsSinceEpoch
      if found != expected { different.append("\(line), found \(found.map(String.init) ?? "-")") }
      seen.insert(name)
      compared += 1
    }
    #expect(compared >= 100_000)
    #expect(seen.count == zones.count)
    #expect(different.isEmpty, "\(different.count) differ: \(different.prefix(20).joined(separator: "; "))")
  }
}
