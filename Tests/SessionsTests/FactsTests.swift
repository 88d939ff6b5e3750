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
  private var path: String { "\(directory.path)/facts.jsonl" }

  private func facts(command: [String] = ["run", "it"]) throws -> Facts {
    let profile = Profile(
      name: "worker", baseImage: "base:1", methodologyDirectory: "/m", command: command,
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
    var lines: [Substring] = []
    for step in Facts.Step.allCases {
      facts.step = step
      facts.metadata.course.beginPhase("\(step)", at: Timestamp(secondsSinceEpoch: 1_795_000_002))
      if step == .prepared { facts.metadata.imageDigest = "sha256:00ff" }
      if step == .released {
        facts.deadlineNanoseconds = 97
        facts.isPartlyReleased = true
        facts.requestedEnd = .deadline
        facts.metadata.commit = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
      }
      if step == .ended {
        facts.isPartlyReleased = nil
        facts.ending = .setupFailed(code: 6, reason: "it did\nnot")
        facts.metadata.endTimestamp = Timestamp(secondsSinceEpoch: 1_795_000_003)
        facts.metadata.outcome = "infrastructure_failure"
        facts.metadata.exitCode = 6
        facts.metadata.signal = 9
        facts.metadata.error = "it did\nnot"
      }
      try directory.write(facts)
      #expect(try directory.facts() == facts)
      #expect(mode(of: path) == 0o600)
      // A step is one line more, and nothing before it is touched.
      let text = try contents(of: path)
      let now = text.split(separator: "\n")
      #expect(text.hasSuffix("\n"))
      #expect(now.count == max(2, lines.count + 1))
      #expect(now.starts(with: lines))
      lines = now
    }
    #expect(facts.deadline == Instant(nanoseconds: 97))
  }

  @Test(
    "say how a session ended, in each way that there is",
    arguments: [
      Ending.exited(code: 0), .timedOut(code: 143), .timedOut(code: nil), .failed(reason: "\"\n"),
      .setupFailed(code: 6, reason: nil), .setupFailed(code: 6, reason: "é"),
    ])
  func endings(_ ending: Ending) throws {
    defer { scratch.remove() }
    var facts = try facts()
    facts.step = .ended
    facts.requestedEnd = .stop
    facts.ending = ending
    try directory.write(facts)
    #expect(try directory.facts() == facts)
  }

  @Test("have the form that earlier builds read and wrote")
  func form() throws {
    var facts = try facts()
    facts.step = .ended
    facts.ending = .timedOut(code: nil)
    let lines = String(decoding: facts.lines(), as: UTF8.self).split(separator: "\n")
    let origin = #"""
      {"version":2,"profile":{"name":"worker","base_image":"base:1","methodology_dir":"/m",\#
      "command":["run","it"],"mounts":[{"source":"/s","target":"/t","read_only":true}],\#
      "credentials":[{"name":"API_KEY","source":"WORKER_KEY"}],"repo_token_source":"CLONE_TOKEN",\#
      "repo_cache":true},"container_name":"agentd-0123abcd-worker-0123456789abcdef",\#
      "record":"/audit/worker/x","boot_id":"\#(Boot.id)","accepted_ns":7,"timeout_ns":90000000000,\#
      "metadata":{"daemon_id":"0123abcd","image":"base:1","profile":"worker",\#
      "repo_url":"https://example.org/a.git","schema_version":1,"session_id":"0123456789abcdef",\#
      "start_timestamp":"2026-11-18T11:06:41.000Z","work_unit":"issue-1"}}
      """#
    let progress = #"""
      {"step":"ended","ending":{"timedOut":{}},"metadata":{"phases":[{"name":"image",\#
      "start_timestamp":"2026-11-18T11:06:41.000Z"}]}}
      """#
    #expect(lines.map(String.init) == [origin, progress])
  }

  @Test("a report is beside the directory, also one that an earlier build has made in it, and goes with it")
  func report() throws {
    defer { scratch.remove() }
    _ = try directory.create(try facts())
    #expect(directory.reportPath == "\(directory.path).report")
    #expect(mode(of: directory.reportPath) == 0o600)
    #expect(directory.report() == SetupReport(parsing: []))
    try write("clone\n", to: directory.reportPath)
    #expect(directory.report().phase == .clone)
    #expect(unlink(directory.reportPath) == 0)
    #expect(directory.report() == SetupReport(parsing: []))
    #expect(directory.reportTime() == nil)
    // Longer than what is read at a time, with a line that is none of ours.
    let former = "\(directory.path)/report"
    try write("\(String(repeating: "x", count: 2000))\ncommand\n", to: former)
    directory.adoptFormerReport()
    #expect(access(former, F_OK) != 0)
    #expect(directory.report().phase == .command)
    #expect(directory.reportTime() != nil)
    directory.adoptFormerReport()
    #expect(directory.report().phase == .command)
    try directory.remove()
    #expect(rmdir(scratch.path) == 0)
    try directory.remove()
  }

  @Test("that were cut anywhere in their last line are those before it, and what comes next is read")
  func cutLine() throws {
    defer { scratch.remove() }
    let first = try facts()
    try directory.write(first)
    let before = try contents(of: path)
    var second = first
    second.step = .released
    try directory.write(second)
    let after = try contents(of: path)
    var third = second
    third.step = .ended
    third.ending = .exited(code: 4)
    #expect(after.hasPrefix(before))
    for length in before.utf8.count..<after.utf8.count {
      try write(String(after.prefix(length)), to: path)
      #expect(try directory.facts() == first)
      try directory.write(third)
      #expect(try directory.facts() == third)
      let text = try contents(of: path)
      #expect(text.hasPrefix(before))
      #expect(text.split(separator: "\n").count == 3)
    }
  }

  @Test("that a full disk cuts short are not written: the step fails, and trying again does it", .exitTest)
  func shortWrite() async {
    // A process of its own, because of its limit.
    await #expect(processExitsWith: .success) {
      let tests = FactsTests()
      defer { tests.scratch.remove() }
      let directory = tests.directory
      let first = try tests.facts()
      try directory.write(first)
      let before = try contents(of: tests.path)
      var second = first
      second.step = .released
      let line = second.progressLine().count
      signal(SIGXFSZ, SIG_IGN)
      for room in 0..<line {
        // A file that may not grow further takes what still fits, as a full disk does.
        try limitFiles(to: before.utf8.count + room)
        let error = #expect(throws: SystemError.self) { try directory.write(second) }
        #expect(error?.errno == .fileTooLarge)
        #expect(try contents(of: tests.path).utf8.count == before.utf8.count + room)
        #expect(try directory.facts() == first)
      }
      try limitFiles(to: before.utf8.count + line)
      try directory.write(second)
      #expect(try directory.facts() == second)
      #expect(try contents(of: tests.path).hasPrefix(before))
    }
  }

  @Test("do not grow beyond what is read")
  func sizeLimit() throws {
    defer { scratch.remove() }
    let rest = try facts(command: [""]).lines().count
    let facts = try facts(command: [String(repeating: "x", count: Facts.sizeLimit - rest)])
    try directory.write(facts)
    #expect(try contents(of: path).utf8.count == Facts.sizeLimit)
    var next = facts
    next.step = .released
    let error = #expect(throws: SystemError.self) { try directory.write(next) }
    #expect(error?.errno == .fileTooLarge)
    #expect(try directory.facts() == facts)
  }

  @Test("that were lost, or cannot be read, are written whole")
  func lost() throws {
    defer { scratch.remove() }
    var facts = try facts()
    _ = try directory.create(facts)
    #expect(unlink(path) == 0)
    facts.step = .released
    try directory.write(facts)
    #expect(try directory.facts() == facts)
    try directory.remove()
    facts.step = .released
    try directory.write(facts)
    #expect(try directory.facts() == facts)
    // What never was a line is nothing to go on with.
    for text in ["", "{\"version\""] {
      try write(text, to: path)
      try directory.write(facts)
      #expect(try directory.facts() == facts)
    }
    // Only the record tells of it: what is there is of another build, or broken.
    try write("{\"version\":1}\n", to: path)
    var told = Facts(
      facts.metadata, containerName: facts.containerName, record: facts.record,
      accepted: Instant(nanoseconds: 7))
    for step in [Facts.Step.prepared, .ended] {
      told.step = step
      try directory.write(told)
      #expect(try directory.facts() == told)
    }
  }

  /// Facts of a session that was accepted in this run of the machine, or else in an earlier one.
  private func accepted(
    _ nanoseconds: UInt64, at seconds: Int64, id: String = "0", isOfThisBoot: Bool = true
  ) throws -> Facts {
    let lines = try facts().lines().split(separator: Facts.newline)
    var object = try #require(
      JSONSerialization.jsonObject(with: Data(lines[0])) as? [String: Any])
    var metadata = try #require(object["metadata"] as? [String: Any])
    metadata["start_timestamp"] = Timestamp(secondsSinceEpoch: seconds).description
    metadata["session_id"] = id
    object["metadata"] = metadata
    object["accepted_ns"] = nanoseconds
    if !isOfThisBoot { object["boot_id"] = "of-another-run" }
    let origin = try JSONSerialization.data(withJSONObject: object)
    return try Facts(parsing: Array(origin) + [Facts.newline] + lines[1] + [Facts.newline])
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

  @Test("whose making was cut anywhere are none, and those of a build that told of launches are read")
  func cutMaking() throws {
    defer { scratch.remove() }
    let facts = try facts()
    _ = try directory.create(facts)
    #expect(try directory.facts() == facts)
    let whole = try contents(of: path)
    for length in 0..<whole.utf8.count {
      try write(String(whole.prefix(length)), to: path)
      #expect(try directory.facts() == nil)
    }
    try write(whole.replacing("\"prepared\"", with: "\"launching\""), to: path)
    #expect(try directory.facts() == facts)
  }

  @Test("name credentials and never hold their values")
  func secrets() throws {
    defer { scratch.remove() }
    try directory.write(try facts())
    let text = try contents(of: path)
    #expect(text.contains("WORKER_KEY"))
    #expect(!text.contains("planted"))
  }

  @Test("that are missing are none, and others say why they cannot be read")
  func unreadable() throws {
    defer { scratch.remove() }
    #expect(try directory.facts() == nil)
    try directory.write(try facts())
    let whole = try contents(of: path)
    let firstLine = try #require(whole.split(separator: "\n").first)
    for (text, reason) in [
      ("\n\n", "it is not JSON with a version"),
      (String(whole.dropFirst()), "it is not JSON with a version"),
      ("\(firstLine)\n{}\n", "it lacks something"),
      // Its last step is not made up from one before.
      (whole + "{\"step\":\"ended\"}\n", "it lacks something"), (whole + "x\n", "it lacks something"),
      ("{\"version\":3}\n{}\n", "it is of version 3, and this build knows 2"),
      ("{\"version\":2}\n{}\n", "it lacks something"),
    ] {
      try write(text, to: path)
      #expect(throws: Facts.Unreadable(reason: reason)) { try directory.facts() }
    }
    #expect(truncate(path, Facts.sizeLimit + 1) == 0)
    #expect(throws: Facts.Unreadable(reason: "it is too large")) { try directory.facts() }
  }

  @Test("stay whole when what is to replace them cannot be written")
  func unreplaced() throws {
    defer { scratch.remove() }
    let known = try facts()
    var facts = Facts(
      known.metadata, containerName: known.containerName, record: known.record,
      accepted: Instant(nanoseconds: 7))
    try directory.write(facts)
    // What stands for a full disk: the temporary name is taken by what cannot be written to.
    #expect(mkdir("\(directory.path)/.facts.jsonl.new", 0o700) == 0)
    let before = facts
    facts.step = .ended
    #expect(throws: SystemError.self) { try directory.write(facts) }
    #expect(try directory.facts() == before)
  }

  @Test("go with their directory, whatever else is in it", arguments: [true, false])
  func removal(_ isComplete: Bool) throws {
    defer { scratch.remove() }
    let removal = { isComplete ? try directory.removeWhenComplete() : try directory.remove() }
    _ = try directory.create(try facts())
    #expect(exists(directory.envelopePath))
    try removal()
    #expect(!exists(directory.path))
    // What has gone is removed already.
    try removal()
    _ = try directory.create(try facts())
    try write("", to: "\(directory.path)/foreign")
    try removal()
    #expect(!exists(directory.path))
    // Nobody has made a directory there: it is kept, and that is said.
    _ = try directory.create(try facts())
    #expect(mkdir("\(directory.path)/foreign", 0o700) == 0)
    #expect(throws: SystemError.self) { try removal() }
    #expect(exists("\(directory.path)/foreign"))
  }

  @Test("the FIFO tells what waits for the container, and lets one through that waits for it", .exitTest)
  func envelope() async {
    // A process of its own: a child that another test is just starting would hold a copy of the descriptor.
    await #expect(processExitsWith: .success) {
      let tests = FactsTests()
      defer { tests.scratch.remove() }
      let directory = tests.directory
      #expect(directory.unreadEnvelope() == nil)
      _ = try directory.create(try tests.facts())
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

/// Bounds the files that this process writes, in bytes.
private func limitFiles(to size: Int) throws {
  var limit = rlimit()
  let resource = __rlimit_resource_t(RLIMIT_FSIZE.rawValue)
  guard getrlimit(resource, &limit) == 0 else { throw CallFailed("getrlimit", errno) }
  limit.rlim_cur = rlim_t(size)
  guard setrlimit(resource, &limit) == 0 else { throw CallFailed("setrlimit", errno) }
}
