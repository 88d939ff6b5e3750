// The zones that a configuration names, while it is read.

import Cron
import Time

/// Reads each zone once: that asks the disk and takes milliseconds, and a file may have thousands of profiles.
final class Zones {
  /// The moment that the configuration is read at.
  let now: Timestamp
  private let read: @Sendable (String?) throws(SystemZone.Failure) -> SystemZone
  private var results: [String?: Result<SystemZone, SystemZone.Failure>] = [:]

  init(_ host: Host) {
    now = host.now
    read = host.zone
  }

  /// A zone by its name; the local one for nil.
  func zone(_ name: String?) throws(SystemZone.Failure) -> SystemZone {
    if let result = results[name] { return try result.get() }
    let result = Result { () throws(SystemZone.Failure) in try read(name) }
    results[name] = result
    return try result.get()
  }

  /// Why a profile did not get the local zone; nil when none asked for it, or it was there.
  var localFailure: SystemZone.Failure? {
    guard case .failure(let failure)? = results[nil] else { return nil }
    return failure
  }
}
