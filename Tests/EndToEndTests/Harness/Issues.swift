// The suite that all tests are in: one after the other, and aware of its failures.

import Testing

/// The tests of whole sessions. They share one machine's podman, so none runs beside another.
@Suite("End to end", .serialized, .compactMapIssues { Issues.pass($0) })
enum EndToEnd {}

/// Whether the test that runs has failed so far.
enum Issues {
  // The tests run one after the other.
  nonisolated(unsafe) private(set) static var seen = false

  static func begin() { seen = false }

  static func note() { seen = true }

  static func pass(_ issue: Issue) -> Issue {
    note()
    return issue
  }
}
