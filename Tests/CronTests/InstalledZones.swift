// Every zone of this machine's tz database, each read once for all tests.

import FoundationEssentials
import Testing
import Time

@testable import Cron

/// What the tests mean by every zone and by the years that they look at.
enum InstalledZones {
  /// A zone file, and what SystemZone made of it.
  struct Entry {
    let name: String
    let path: String
    let zone: Zone
  }

  static let directory = "/usr/share/zoneinfo"
  /// Where the zones begin to be known, but for two days before.
  static let start = seconds("2020-01-01T00:00:00Z")
  /// The transitions from `start` to here are tested.
  static let end = seconds("2041-01-01T00:00:00Z")

  /// In the order of their names.
  static let all: [Entry] = names.map { name in
    do {
      let zone = try SystemZone(name, around: Timestamp(secondsSinceEpoch: start))
      return Entry(name: name, path: "\(directory)/\(name)", zone: zone.zone)
    } catch {
      preconditionFailure("\(name) \(error)")
    }
  }

  /// One zone of each behaviour from `start` on: what is asked of zones alike is asked once.
  static let distinct: [Entry] = {
    var seen: Set<[Int64]> = []
    return all.filter { entry in
      seen.insert(entry.zone.segments.flatMap { [$0.start, $0.offset] }).inserted
    }
  }()

  /// Names of files that begin as zones do. `posix` repeats them all, `right` counts leap seconds, which POSIX time
  /// does not know, and the other two are copies of a zone under no zone's name.
  private static let names: [String] = {
    let files = (try? FileManager.default.subpathsOfDirectory(atPath: directory)) ?? []
    return files.filter { name in
      guard !name.hasPrefix("posix/"), !name.hasPrefix("right/"), name != "posixrules", name != "localtime"
      else {
        return false
      }
      return FileManager.default.contents(atPath: "\(directory)/\(name)")?.starts(with: "TZif".utf8) == true
    }.sorted()
  }()
}

extension Zone {
  /// The transitions in a range of seconds.
  func transitions(in seconds: Range<Int64>) -> [Transition] {
    segments.dropFirst().filter { seconds.contains($0.start) }.map {
      Transition(second: $0.start, offset: $0.offset)
    }
  }
}

/// The second of a text that is written in the test.
func seconds(_ text: String) -> Int64 {
  guard let moment = Timestamp(rfc3339: text) else { preconditionFailure("\(text) is no moment") }
  return moment.secondsSinceEpoch
}
