// What a session leaves to the next daemon: read back as it was written, whole or not at all, and without a secret.

import Audit
import Foundation
import Glibc
import Profiles
import Reactor
import SystemPackage
import TestSupport
import Testing
import Time

@testable import Sessions

@Suite("Facts")
struct FactsTests {
  private let scratch = Scratch()

  private let session = "0123456789abcdef"
  private var directory: PrivateDirectory { PrivateDirectory(path: "\(scratch.path)/\(session)") }
  private var file: JournalFile { JournalFile(1, in: scratch.path) }
  private var path: String { "\(scratch.path)/journal/1.json-seq" }

  private func append(_ facts: Facts, isWhole: Bool = false) throws {
    #expect(try file.append(facts.journalRecord(isWhole: isWhole)))
  }

  /// What the next daemon reads.
  private func read() throws -> Facts? {
    try JournalReading(in: scratch.path).records[#require(SessionID(session))]?.facts()
  }

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
      try append(facts, isWhole: lines.isEmpty)
      #expect(try read() == facts)
      #expect(mode(of: path) == 0o600)
      // A step is one record more, and nothing before it is touched.
      let text = try contents(of: path)
      let now = text.split(separator: "\u{1e}")
      #expect(now.allSatisfy { $0.hasSuffix("\n") && $0.split(separator: "\n").count == 1 })
      #expect(now.count == lines.count + 1)
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
    try append(facts, isWhole: true)
    #expect(try read() == facts)
  }

  @Test("have the form that other builds read and wrote")
  func form() throws {
    var facts = try facts()
    facts.step = .ended
    facts.ending = .timedOut(code: nil)
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
    #expect(
      String(decoding: facts.journalRecord(isWhole: true), as: UTF8.self)
        == "\u{1e}{\"session\":\"\(session)\",\"origin\":\(origin),\"progress\":\(progress)}\n")
    #expect(
      String(decoding: facts.journalRecord(isWhole: false), as: UTF8.self)
        == "\u{1e}{\"session\":\"\(session)\",\"progress\":\(progress)}\n")
    // Before the journal each session had a file.
    #expect(try Facts(former: Array("\(origin)\n\(progress)\n".utf8)) == facts)
  }

  @Test("a report is beside the directory, also one that an earlier build has made in it, and goes with it")
  func report() throws {
    defer { scratch.remove() }
    _ = try directory.create()
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

  @Test("that were cut anywhere in their last record are those before it, and what comes next is read")
  func cutRecord() throws {
    defer { scratch.remove() }
    let first = try facts()
    try append(first, isWhole: true)
    let before = try contents(of: path)
    for isWhole in [false, true] {
      var second = first
      second.step = .released
      try append(second, isWhole: isWhole)
      let after = try contents(of: path)
      var third = second
      third.step = .ended
      third.ending = .exited(code: 4)
      #expect(after.hasPrefix(before))
      for length in before.utf8.count..<after.utf8.count {
        try write(String(after.prefix(length)), to: path)
        #expect(try read() == first)
        // One more that is cut, after its first byte; and what comes next twice.
        for isFirst in [true, false] {
          if isFirst { #expect(try file.append([0x1e])) }
          #expect(try read() == (isFirst ? first : third))
          try append(third)
          #expect(try read() == third)
        }
        #expect(try contents(of: path).hasPrefix(after.prefix(length)))
      }
      try write(before, to: path)
    }
  }

  @Test("that a full disk cuts short are not written: the step fails, and trying again does it", .exitTest)
  func shortWrite() async {
    // A process of its own, because of its limit.
    await #expect(processExitsWith: .success) {
      let tests = FactsTests()
      defer { tests.scratch.remove() }
      let first = try tests.facts()
      try tests.append(first, isWhole: true)
      signal(SIGXFSZ, SIG_IGN)
      for isWhole in [false, true] {
        var second = first
        second.step = .released
        let record = second.journalRecord(isWhole: isWhole)
        for room in 0..<record.count {
          // A file that may not grow further takes what still fits, as a full disk does.
          let before = try contents(of: tests.path)
          try limitFiles(to: before.utf8.count + room)
          let error = #expect(throws: SystemError.self) { try tests.file.append(record) }
          #expect(error?.errno == .fileTooLarge)
          let after = try contents(of: tests.path)
          #expect(after.hasPrefix(before))
          #expect(after.utf8.count == before.utf8.count + room)
          #expect(try tests.read() == first)
        }
        let before = try contents(of: tests.path)
        try limitFiles(to: before.utf8.count + record.count)
        #expect(try tests.file.append(record))
        #expect(try tests.read() == second)
        #expect(try contents(of: tests.path).hasPrefix(before))
        try limitFiles(to: 1 << 30)
        try tests.append(first)
      }
    }
  }

  @Test("do not grow beyond what is read")
  func sizeLimit() throws {
    defer { scratch.remove() }
    let rest = try facts(command: [""]).journalRecord(isWhole: true).count
    func refusal(_ facts: Facts) -> Errno? {
      #expect(throws: SystemError.self) { try file.append(facts.journalRecord(isWhole: true)) }?.errno
    }
    let tooLarge = try facts(command: [String(repeating: "x", count: Facts.sizeLimit - rest + 1)])
    #expect(refusal(tooLarge) == .fileTooLarge)
    #expect(try read() == nil)
    let facts = try facts(command: [String(repeating: "x", count: Facts.sizeLimit - rest)])
    for _ in 0..<(JournalFile.sizeLimit / Facts.sizeLimit) { try append(facts, isWhole: true) }
    #expect(try contents(of: path).utf8.count == JournalFile.sizeLimit)
    #expect(refusal(try self.facts()) == .fileTooLarge)
    #expect(try read() == facts)
    #expect(truncate(path, off_t(JournalFile.sizeLimit + 1)) == 0)
    let error = #expect(throws: SystemError.self) { try read() }
    #expect(error?.errno == .fileTooLarge)
  }

  @Test("are not written where nobody would find them")
  func lost() throws {
    defer { scratch.remove() }
    let record = try facts().journalRecord(isWhole: true)
    let file = file
    #expect(try file.append(record))
    #expect(try file.append(record))
    #expect(unlink(path) == 0)
    #expect(try !file.append(record))
    #expect(!exists(path))
    // With the directory, and with all that it is in.
    for isAllGone in [false, true] {
      let other = JournalFile(isAllGone ? 3 : 2, in: scratch.path)
      #expect(try other.append(record))
      // It had to make its directory, which the one before it would still have.
      #expect(other.isFirst == isAllGone)
      #expect(try read() == facts())
      #expect(other.remove() == nil)
      #expect(!exists("\(scratch.path)/journal"))
      if isAllGone { #expect(rmdir(scratch.path) == 0) }
      #expect(try !other.append(record))
    }
    let error = #expect(throws: SystemError.self) { try JournalFile(4, in: scratch.path).append(record) }
    #expect(error?.errno == .noSuchFileOrDirectory)
  }

  /// Facts of a session that was accepted in this run of the machine, or else in an earlier one.
  private func accepted(
    _ nanoseconds: UInt64, at seconds: Int64, id: String = "0", isOfThisBoot: Bool = true
  ) throws -> Facts {
    let record = try facts().journalRecord(isWhole: true)
    var object = try #require(JSONSerialization.jsonObject(with: Data(record.dropFirst())) as? [String: Any])
    var origin = try #require(object["origin"] as? [String: Any])
    var metadata = try #require(origin["metadata"] as? [String: Any])
    metadata["start_timestamp"] = Timestamp(secondsSinceEpoch: seconds).description
    metadata["session_id"] = id
    origin["metadata"] = metadata
    origin["accepted_ns"] = nanoseconds
    if !isOfThisBoot { origin["boot_id"] = "of-another-run" }
    object["origin"] = origin
    let changed = Array(try JSONSerialization.data(withJSONObject: object))
    return try Facts(changed, latest: changed)
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
    try append(facts, isWhole: true)
    #expect(try read() == facts)
    let whole = try contents(of: path)
    for length in 0..<whole.utf8.count {
      try write(String(whole.prefix(length)), to: path)
      #expect(try read() == nil)
    }
    try write(whole.replacing("\"prepared\"", with: "\"launching\""), to: path)
    #expect(try read() == facts)
  }

  /// The file of a build before the journal: the parts of a whole record, a line each.
  private func former(_ facts: Facts) throws -> String {
    let record = String(decoding: facts.journalRecord(isWhole: true), as: UTF8.self)
    let parts = try #require(record.firstMatch(of: /"origin":(.*),"progress":(.*)}\n/))
    return "\(parts.1)\n\(parts.2)\n"
  }

  @Test("of a build before the journal are read; those whose making or last line was cut, as it read them")
  func former() throws {
    defer { scratch.remove() }
    #expect(try directory.formerFacts() == nil)
    #expect(mkdir(directory.path, 0o700) == 0)
    let path = "\(directory.path)/facts.jsonl"
    let facts = try facts()
    let whole = try former(facts)
    for length in 0..<whole.utf8.count {
      try write(String(whole.prefix(length)), to: path)
      #expect(try directory.formerFacts() == nil)
    }
    try write(whole, to: path)
    #expect(try directory.formerFacts() == facts)
    var ended = facts
    ended.step = .ended
    ended.ending = .exited(code: 4)
    let lastLine = try #require(try former(ended).split(separator: "\n").last)
    for length in 0..<lastLine.utf8.count {
      try write(whole + lastLine.prefix(length), to: path)
      #expect(try directory.formerFacts() == facts)
    }
    try write(whole + lastLine + "\n", to: path)
    #expect(try directory.formerFacts() == ended)
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
      #expect(throws: Facts.Unreadable(reason: reason)) { try directory.formerFacts() }
    }
    #expect(truncate(path, off_t(Facts.sizeLimit + 1)) == 0)
    #expect(throws: Facts.Unreadable(reason: "it is too large")) { try directory.formerFacts() }
    // They go with it.
    try directory.removeWhenComplete()
    #expect(!exists(directory.path))
  }

  @Test("name credentials and never hold their values")
  func secrets() throws {
    defer { scratch.remove() }
    try append(try facts(), isWhole: true)
    let text = try contents(of: path)
    #expect(text.contains("WORKER_KEY"))
    #expect(!text.contains("planted"))
  }

  @Test("that are missing are none, and others say why they cannot be read")
  func unreadable() throws {
    defer { scratch.remove() }
    #expect(try read() == nil)
    try append(try facts(), isWhole: true)
    let whole = try contents(of: path)
    let head = "\u{1e}{\"session\":\"\(session)\","
    for (text, reason) in [
      // Where it began was in a file that somebody has removed.
      ("\(head)\"progress\":{}}\n", "it is not JSON with a version"),
      ("\(head)\"origin\":{},\"progress\":{}}\n", "it is not JSON with a version"),
      ("\(head)x\n", "it is not JSON with a version"),
      // Its last step is not made up from one before.
      (whole + "\(head)\"progress\":{\"step\":\"ended\"}}\n", "it lacks something"),
      (whole + "\(head)x\n", "it lacks something"),
      (
        "\(head)\"origin\":{\"version\":3},\"progress\":{}}\n",
        "it is of version 3, and this build knows 2"
      ),
      ("\(head)\"origin\":{\"version\":2},\"progress\":{}}\n", "it lacks something"),
    ] {
      try write(text, to: path)
      #expect(throws: Facts.Unreadable(reason: reason)) { try read() }
    }
  }

  @Test("of others are not in the way, nor is what no daemon has written, which is counted")
  func strays() throws {
    defer { scratch.remove() }
    let id = try #require(SessionID(session))
    let facts = try facts()
    try append(facts, isWhole: true)
    let whole = try contents(of: path)
    let other = whole.replacing(session, with: "fedcba9876543210")
    let strays = ["x", "{", "{\"session\":\"7\",\"progress\":{}}", "{\"session\":\"\(session)", "{}"]
    try write("y\n" + other + whole + strays.map { "\u{1e}\($0)\n" }.joined() + other, to: path)
    let reading = try JournalReading(in: scratch.path)
    #expect(reading.strays == strays.count + 1)
    #expect(reading.records.count == 2)
    #expect(try reading.records[id]?.facts() == facts)
  }

  @Test("are found in the order of the files, and nothing else in their directory counts")
  func files() throws {
    defer { scratch.remove() }
    let id = try #require(SessionID(session))
    var facts = try facts()
    #expect(try JournalReading(in: scratch.path).numbers == [])
    // Not in the order of their names.
    for (number, step) in [(9, Facts.Step.prepared), (10, .released), (100, .ended)] {
      facts.step = step
      #expect(try JournalFile(number, in: scratch.path).append(facts.journalRecord(isWhole: number == 9)))
      let reading = try JournalReading(in: scratch.path)
      #expect(try reading.records[id]?.facts() == facts)
      #expect(reading.records[id]?.place == Journal.Place(origin: 9, progress: number))
    }
    let foreign = ["0", "-1", "01", "+1", "x", "", "\(1 << 53)", "\(Int.max)"].map { "\($0).json-seq" }
    for name in foreign + ["7", "7.json"] {
      try write("x\n", to: "\(scratch.path)/journal/\(name)")
    }
    let reading = try JournalReading(in: scratch.path)
    #expect(reading.numbers == [9, 10, 100])
    #expect(reading.strays == 0)
    #expect(chmod("\(scratch.path)/journal/9.json-seq", 0) == 0)
    #expect(unlink("\(scratch.path)/journal/10.json-seq") == 0)
    #expect(symlink("100.json-seq", "\(scratch.path)/journal/10.json-seq") == 0)
    let error = #expect(throws: SystemError.self) { try JournalReading(in: scratch.path) }
    #expect(error?.errno == (geteuid() == 0 ? .tooManySymbolicLinkLevels : .permissionDenied))
  }

  @Test("a directory goes, whatever else is in it", arguments: [true, false])
  func removal(_ isComplete: Bool) throws {
    defer { scratch.remove() }
    let removal = { isComplete ? try directory.removeWhenComplete() : try directory.remove() }
    _ = try directory.create()
    #expect(exists(directory.envelopePath))
    try removal()
    #expect(!exists(directory.path))
    // What has gone is removed already.
    try removal()
    _ = try directory.create()
    try write("", to: "\(directory.path)/foreign")
    try removal()
    #expect(!exists(directory.path))
    // Nobody has made a directory there: it is kept, and that is said.
    _ = try directory.create()
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
      _ = try directory.create()
      let daemon = try directory.openEnvelope()
      #expect(directory.unreadEnvelope() == 0)
      #expect(Glibc.write(daemon.raw, "12345", 5) == 5)
      #expect(directory.unreadEnvelope() == 5)
      let container = open(directory.envelopePath, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
      close(daemon.release())
      #expect(directory.unreadEnvelope() == 5)
      var bytes = [UInt8](repeating: 0, count: 8)
      #expect(Glibc.read(container, &bytes, 8) == 5)
      #expect(directory.unreadEnvelope() == 0)
      #expect(Glibc.read(container, &bytes, 8) == 0)
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
