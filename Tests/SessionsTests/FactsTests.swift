// What a session leaves to the next daemon: read back as it was written, whole or not at all, and without a secret.

import Audit
import Foundation
import Glibc
import Profiles
import Reactor
import TestSupport
import Testing
import Time

@testable import Sessions

@Suite("Facts")
struct FactsTests {
  private let scratch = Scratch()

  private var directory: PrivateDirectory { PrivateDirectory(path: "\(scratch.path)/session") }

  private func facts() throws -> Facts {
    let profile = Profile(
      name: "worker", baseImage: "base:1", methodologyDirectory: "/m", command: ["run", "it"],
      repositoryTokenSource: "CLONE_TOKEN", mounts: [Mount(source: "/s", target: "/t", readOnly: true)],
      credentials: [Credential(name: "API_KEY", source: "WORKER_KEY")])
    let repository = try RepositoryURL("https://example.org/a.git")
    let envelope = try Envelope(
      repository: repository.text, workUnit: "issue-1", cloneToken: Array("planted-token".utf8),
      credentials: [("API_KEY", Array("planted-value".utf8))])
    let invocation = Invocation(
      profile: profile, repository: repository, workUnit: try WorkUnit("issue-1"), timeout: .seconds(90),
      scheduledFor: Timestamp(secondsSinceEpoch: 1_795_000_000), envelope: envelope)
    let metadata = Metadata(
      sessionID: "0123456789abcdef", daemonID: "0123abcd", profile: "worker", repoURL: repository.text,
      workUnit: "issue-1", startTimestamp: Timestamp(secondsSinceEpoch: 1_795_000_001), image: "base:1",
      phases: [.init(name: "image", startTimestamp: Timestamp(secondsSinceEpoch: 1_795_000_001))])
    return Facts(
      invocation, containerName: "agentd-0123abcd-worker-0123456789abcdef", record: "/audit/worker/x",
      accepted: Instant(nanoseconds: 7), metadata: metadata)
  }

  @Test("are read back as they were written, at every step")
  func roundTrip() throws {
    defer { scratch.remove() }
    var facts = try facts()
    #expect(facts.timeoutNanoseconds == 90_000_000_000)
    #expect(facts.bootID == Boot.id)
    for step in Facts.Step.allCases {
      facts.step = step
      if step == .released { facts.deadlineNanoseconds = 97 }
      if step == .ended { facts.ending = .setupFailed(code: 6, reason: "it did not") }
      try directory.write(facts)
      #expect(try directory.facts() == facts)
      #expect(mode(of: "\(directory.path)/facts.json") == 0o600)
    }
    #expect(facts.deadline == Instant(nanoseconds: 97))
  }

  /// Facts of a session that was accepted in this run of the machine, or else in an earlier one.
  private func accepted(
    _ nanoseconds: UInt64, at seconds: Int64, id: String = "0", isOfThisBoot: Bool = true
  ) throws -> Facts {
    var object = try #require(
      JSONSerialization.jsonObject(with: Data(try facts().json())) as? [String: Any])
    var metadata = try #require(object["metadata"] as? [String: Any])
    metadata["start_timestamp"] = Timestamp(secondsSinceEpoch: seconds).description
    metadata["session_id"] = id
    object["metadata"] = metadata
    object["accepted_ns"] = nanoseconds
    if !isOfThisBoot { object["boot_id"] = "of-another-run" }
    return try Facts(parsing: Array(JSONSerialization.data(withJSONObject: object)))
  }

  @Test("are in the order of acceptance, those of earlier boots first, whatever the clock shows")
  func order() throws {
    let expected = [
      try accepted(900, at: 100, isOfThisBoot: false), try accepted(5, at: 200, isOfThisBoot: false),
      try accepted(7, at: 200, id: "1", isOfThisBoot: false),
      // The wall clock was set back meanwhile.
      try accepted(10, at: 300), try accepted(20, at: 50), try accepted(20, at: 60),
    ]
    for rotation in expected.indices {
      let found = (expected[rotation...] + expected[..<rotation]).sorted { $0.precedes($1) }
      #expect(found == expected)
    }
    for facts in expected { #expect(!facts.precedes(facts)) }
  }

  @Test("name credentials and never hold their values")
  func secrets() throws {
    defer { scratch.remove() }
    try directory.write(try facts())
    let text = try contents(of: "\(directory.path)/facts.json")
    #expect(text.contains("WORKER_KEY"))
    #expect(!text.contains("planted"))
  }

  @Test("that are missing are none, and others say why they cannot be read")
  func unreadable() throws {
    defer { scratch.remove() }
    #expect(try directory.facts() == nil)
    try directory.write(try facts())
    let path = "\(directory.path)/facts.json"
    let whole = try contents(of: path)
    for (text, reason) in [
      ("", "it is not JSON with a version"), (String(whole.dropLast(20)), "it is not JSON with a version"),
      ("{\"version\":2}", "it is of version 2, and this build knows 1"),
      ("{\"version\":1}", "it lacks something"),
    ] {
      try write(text, to: path)
      #expect(throws: Facts.Unreadable(reason: reason)) { try directory.facts() }
    }
    #expect(truncate(path, Facts.sizeLimit + 1) == 0)
    #expect(throws: Facts.Unreadable(reason: "it is too large")) { try directory.facts() }
  }

  @Test("stay whole when the next ones cannot be written")
  func fullDisk() throws {
    defer { scratch.remove() }
    let facts = try facts()
    try directory.write(facts)
    // What stands for a full disk: the temporary name is taken by what cannot be written to.
    #expect(mkdir("\(directory.path)/.facts.json.new", 0o700) == 0)
    var next = facts
    next.step = .launching
    #expect(throws: SystemError.self) { try directory.write(next) }
    #expect(try directory.facts() == facts)
  }

  @Test("outlive what else is in the directory, and go with it")
  func removal() throws {
    defer { scratch.remove() }
    let facts = try facts()
    try directory.create(facts)
    #expect(exists(directory.envelopePath))
    try directory.empty()
    #expect(!exists(directory.envelopePath))
    #expect(!exists(directory.reportPath))
    #expect(try directory.facts() == facts)
    try directory.remove()
    #expect(!exists(directory.path))
    // What has gone is removed already.
    try directory.empty()
    try directory.remove()
  }

  @Test("the FIFO tells what waits for the container, and lets one through that waits for it")
  func envelope() async {
    // A process of its own: a child that another test is just starting would hold a copy of the descriptor.
    await #expect(processExitsWith: .success) {
      let tests = FactsTests()
      defer { tests.scratch.remove() }
      let directory = tests.directory
      #expect(directory.unreadEnvelope() == nil)
      try directory.create(try tests.facts())
      let daemon = try directory.openEnvelope()
      #expect(directory.unreadEnvelope() == 0)
      #expect(Glibc.write(daemon.raw, "12345", 5) == 5)
      #expect(directory.unreadEnvelope() == 5)
      let container = open(directory.envelopePath, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
      close(daemon.release())
      #expect(directory.unreadEnvelope() == 5)
      var bytes = [UInt8](repeating: 0, count: 8)
      #expect(read(container, &bytes, 8) == 5)
      #expect(directory.unreadEnvelope() == 0)
      #expect(read(container, &bytes, 8) == 0)
      close(container)
      // What nobody has open goes with the last who had.
      let other = open(directory.envelopePath, O_RDWR | O_NONBLOCK | O_CLOEXEC)
      #expect(Glibc.write(other, "12345", 5) == 5)
      close(other)
      #expect(directory.unreadEnvelope() == 0)
    }
  }
}
