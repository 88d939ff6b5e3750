// What a start does with what earlier daemons left: each session is brought to its end, and nothing else is touched.

import Audit
import Engine
import Glibc
import Logging
import Profiles
import Reactor
import TestSupport
import Testing
import Time

@testable import Daemon
@testable import Sessions

@Suite("Recovery")
struct RecoveryTests {
  init() { LoopThread.start() }

  /// A claimed instance on a stand-in for podman, with what an earlier daemon has left.
  @Loop final class Fixture {
    let scratch = Scratch()
    let events = Events()
    let instance: Instance
    let podman: StubPodman
    let host: SessionHost

    var auditRoot: String { "\(scratch.path)/audit" }

    /// `podman ps` and `podman inspect` print the files `listing` and `inspection`; `body` is the rest of the script.
    init(_ body: String = "") throws {
      let settings = DaemonSettings(
        socketPath: "\(scratch.path)/run/s", pidFile: "\(scratch.path)/run/p",
        auditRoot: "\(scratch.path)/audit", capacity: testCapacity)
      instance = try Instance(claiming: settings)
      for name in ["listing", "inspection"] { try write("", to: "\(scratch.path)/\(name)") }
      podman = try StubPodman(
        in: scratch.path,
        """
        case $verb in
        ps) exec cat "$here/listing" ;;
        inspect) exec cat "$here/inspection" ;;
        esac
        \(body)
        """)
      let worker = try sharedWorker()
      let containers = Containers(
        podman: Podman(executable: podman.executable), environment: ["PATH=/usr/bin:/bin"], worker: worker,
        processLimit: 4)
      let log = Logger(label: "agentd", factory: { [events] _ in EventRecorder(events) })
      host = try SessionHost(
        containers: containers, worker: worker, daemonID: instance.id,
        runtimeDirectory: instance.runtimeDirectory, auditRoot: "\(scratch.path)/audit",
        sealCommand: ["/bin/false"], log: log)
    }

    func clear() {
      host.close()
      instance.resign()
      scratch.remove()
    }

    func directory(_ session: String) -> String { "\(instance.runtimeDirectory)/\(session)" }

    func record(_ session: String) -> Record {
      Record(auditRoot: auditRoot, profile: "worker", session: session)
    }

    /// A record as a session of some daemon has left it.
    func leaveRecord(_ session: String, daemon: String?) throws -> Metadata {
      let start = Timestamp(secondsSinceEpoch: 1_795_000_000)
      let metadata = Metadata(
        sessionID: session, daemonID: daemon, profile: "worker", repoURL: "https://example.org/a.git",
        startTimestamp: start, image: "base:1", phases: [.init(name: "setup", startTimestamp: start)])
      _ = try Record.create(auditRoot: auditRoot, metadata: metadata)
      return metadata
    }

    /// A session as a daemon that was killed has left it.
    func leave(_ session: String, _ step: Facts.Step, ending: Ending? = nil, hasRecord: Bool = true) throws {
      var metadata = Metadata(
        sessionID: session, daemonID: instance.id, profile: "worker", repoURL: "https://example.org/a.git",
        startTimestamp: Timestamp(secondsSinceEpoch: 1_795_000_000), image: "base:1")
      if hasRecord { metadata = try leaveRecord(session, daemon: instance.id) }
      var facts = Facts(
        metadata, containerName: "agentd-\(instance.id)-worker-\(session)", record: record(session).path,
        accepted: Loop.now)
      facts.step = step
      facts.ending = ending
      if step == .ended { facts.metadata.endTimestamp = Timestamp(secondsSinceEpoch: 1_795_000_009) }
      #expect(try PrivateDirectory(path: directory(session)).create())
      let file = JournalFile(1, in: instance.runtimeDirectory)
      #expect(try file.append(facts.journalRecord(isWhole: true)))
    }

    /// Has a record that cannot be sealed, because a file in it has another name elsewhere.
    func hinderSealing(of record: Record) throws {
      try write("x", to: "\(record.runaPath)/file")
      #expect(link("\(record.runaPath)/file", "\(scratch.path)/other-name") == 0)
    }

    /// Ends what `hinderSealing` began.
    func allowSealing() { #expect(unlink("\(scratch.path)/other-name") == 0) }

    /// What the next start finds of a session in the journal.
    func facts(_ session: String) throws -> Facts? {
      try JournalReading(in: instance.runtimeDirectory).records[#require(SessionID(session))]?.facts()
    }

    /// A record as the power failure has left it that came when its container was being removed: sealed, and how it ended
    /// staged beside its session.json.
    func stage(_ session: String, _ ending: Ending, daemon: String? = nil) throws {
      var staged = try leaveRecord(session, daemon: instance.id)
      if let daemon {
        staged = Metadata(
          sessionID: session, daemonID: daemon, profile: "worker", repoURL: "https://example.org/a.git",
          startTimestamp: staged.startTimestamp, image: "base:1", phases: staged.phases)
      }
      let end = Self.stagedEnd
      for (phase, seconds) in [("command", -5), ("teardown", 0), ("seal", 1)] as [(String, Int)] {
        staged.course.beginPhase(phase, at: end + .seconds(seconds))
      }
      staged.course.endPhase(at: end + .seconds(1))
      staged.endTimestamp = end
      staged.commit = String(repeating: "c", count: 40)
      staged.imageDigest = "sha256:\(String(repeating: "d", count: 64))"
      let conclusion = Conclusion(ending)
      staged.outcome = conclusion.outcome.label
      staged.exitCode = conclusion.exitCode
      staged.signal = conclusion.signal
      staged.error = conclusion.reason
      try Sealing(of: record(session), staging: staged).sealCompletely()
    }

    static let stagedEnd = Timestamp(secondsSinceEpoch: 1_795_000_100)

    /// What podman says of containers: session, state, exit code, and whether anybody saw the end.
    func leaveContainers(_ containers: [(session: String, state: String, code: Int, wasSeen: Bool)]) throws {
      let names = containers.map { "agentd-\(instance.id)-worker-\($0.session)" }
      try write(
        zip(names, containers).map { "\($0)\t\($1.state)\n" }.joined(), to: "\(scratch.path)/listing")
      let lines = zip(names, containers).map { name, container in
        let time = container.wasSeen ? "2026-11-23T04:05:06.25Z" : "0001-01-01T00:00:00Z"
        return "\(name) 0123abcd 0 0 \(container.state) \(container.code) false \"\(time)\"\n"
      }
      try write(lines.joined(), to: "\(scratch.path)/inspection")
    }

    /// Recovers, and runs what was found to its end.
    func recover(launchPatience: Duration? = nil) async throws -> [String: Conclusion] {
      let recovery = Recovery(host: host, log: host.log, launchPatience: launchPatience)
      var conclusions: [String: Conclusion] = [:]
      for found in try await recovery.run() {
        conclusions[found.session.id.description] = await withCheckedContinuation { ended in
          found.session.run { ended.resume(returning: $0) }
        }
      }
      return conclusions
    }
  }

  private static let one = "0000000000000001"
  private static let two = "0000000000000002"
  private static let three = "0000000000000003"

  @Test("what was not released is interrupted: removed, sealed, with a reason") @Loop
  func interrupted() async throws {
    let fixture = try Fixture()
    defer { fixture.clear() }
    try fixture.leave(Self.one, .prepared)
    try fixture.leave(Self.two, .prepared)
    try fixture.leaveContainers([(Self.two, "created", 0, false)])
    let ends = try await fixture.recover()
    #expect(ends.mapValues(\.outcome) == [Self.one: .error, Self.two: .error])
    #expect(ends[Self.one]?.reason == Decision.notStarted)
    #expect(ends[Self.two]?.reason == Ending.unreleased)
    for session in [Self.one, Self.two] {
      let metadata = try #require(fixture.record(session).metadata)
      #expect(metadata.outcome == "error")
      #expect(metadata.error == ends[session]?.reason)
      #expect(metadata.endTimestamp != nil)
      for phase in metadata.phases {
        #expect(phase.endTimestamp.map { $0 >= phase.startTimestamp } == true)
      }
      #expect(mode(of: fixture.record(session).metadataPath) == 0o444)
      #expect(
        try contents(of: fixture.record(session).consoleLogPath).hasSuffix("\(metadata.error ?? "?")\n"))
      #expect(!exists(fixture.directory(session)))
      // Also the one that podman does not list: a launch that was killed may have left half a container.
      let removals = try fixture.podman.calls(of: "rm")
      #expect(removals.contains { $0.contains(session) })
    }
    #expect(Set(fixture.events["agentd.session_recovered"].map { $0["how"] }) == ["interrupted"])
  }

  @Test("what ended while no daemon ran is finished with podman's code and podman's time") @Loop
  func finished() async throws {
    let fixture = try Fixture()
    defer { fixture.clear() }
    for session in [Self.one, Self.two, Self.three] { try fixture.leave(session, .released) }
    let commit = String(repeating: "a", count: 40)
    try write("clone\ncommit \(commit)\ncommand\n", to: "\(fixture.directory(Self.one)).report")
    try write("clone\n", to: "\(fixture.directory(Self.two)).report")
    try write("command\n", to: "\(fixture.directory(Self.three)).report")
    try fixture.leaveContainers([
      (Self.one, "exited", 3, true), (Self.two, "exited", 6, true), (Self.three, "exited", 0, false),
    ])
    let ends = try await fixture.recover()
    #expect(ends[Self.one]?.outcome == .blocked)
    #expect(ends[Self.two]?.outcome == .infrastructureFailure)
    // podman's zero after a reboot is no success.
    #expect(ends[Self.three]?.outcome == .error)
    let metadata = try #require(fixture.record(Self.one).metadata)
    #expect(metadata.outcome == "blocked")
    #expect(metadata.exitCode == 3)
    #expect(metadata.commit == commit)
    #expect(metadata.endTimestamp?.rfc3339 == "2026-11-23T04:05:06.250Z")
    #expect(metadata.phases.map(\.name) == ["setup", "command", "teardown", "seal"])
    let events = fixture.events["agentd.session_recovered"]
    #expect(events.first { $0["session_id"] == Self.one }?["outcome"] == "blocked")
    #expect(events.first { $0["session_id"] == Self.three }?["how"] == "interrupted")
  }

  @Test("what was reported where an earlier build has the report is not lost") @Loop
  func formerReport() async throws {
    let fixture = try Fixture()
    defer { fixture.clear() }
    try fixture.leave(Self.one, .released)
    let directory = fixture.directory(Self.one)
    #expect(rename("\(directory).report", "\(directory)/report") == 0)
    try write("clone\ncommand\n", to: "\(directory)/report")
    try fixture.leaveContainers([(Self.one, "exited", 3, true)])
    let ends = try await fixture.recover()
    #expect(ends[Self.one]?.outcome == .blocked)
    #expect(!exists(directory))
    #expect(!exists("\(directory).report"))
  }

  @Test("facts of a build before the journal are read, and kept in the journal from then on") @Loop
  func formerFacts() async throws {
    let fixture = try Fixture()
    defer { fixture.clear() }
    try fixture.leave(Self.one, .released)
    let journal = "\(fixture.instance.runtimeDirectory)/journal"
    let record = try contents(of: "\(journal)/1.json-seq")
    let parts = try #require(record.firstMatch(of: /"origin":(.*),"progress":(.*)}\n/))
    #expect(unlink("\(journal)/1.json-seq") == 0)
    #expect(rmdir(journal) == 0)
    let profile =
      #""profile":{"name":"worker","base_image":"base:1","methodology_dir":"/m","command":["x"],"#
      + #""mounts":[],"credentials":[]},"#
    let origin = "{\(profile)\(parts.1.dropFirst())"
    try write("\(origin)\n\(parts.2)\n", to: "\(fixture.directory(Self.one))/facts.jsonl")
    try write("clone\ncommand\n", to: "\(fixture.directory(Self.one)).report")
    try fixture.leaveContainers([(Self.one, "exited", 3, true)])
    // What cannot be completed has its facts where the start after this one looks first.
    let held = fixture.record(Self.one)
    try fixture.hinderSealing(of: held)
    #expect(try await fixture.recover()[Self.one]?.outcome == .blocked)
    #expect(try fixture.facts(Self.one)?.ending == .exited(code: 3))
    #expect(try fixture.facts(Self.one)?.profile?.command == ["x"])
    fixture.allowSealing()
    #expect(try await fixture.recover()[Self.one]?.problems == [])
    #expect(held.metadata?.outcome == "blocked")
    #expect(!exists(fixture.directory(Self.one)))
  }

  @Test("files of the journal that earlier daemons have left are gone on behind, and read in their order")
  @Loop
  func laterFiles() async throws {
    let fixture = try Fixture()
    defer { fixture.clear() }
    try fixture.leave(Self.one, .prepared)
    let path = "\(fixture.instance.runtimeDirectory)/journal"
    #expect(rename("\(path)/1.json-seq", "\(path)/3.json-seq") == 0)
    var facts = try #require(try fixture.facts(Self.one))
    facts.step = .ended
    facts.ending = .exited(code: 5)
    facts.metadata.endTimestamp = Timestamp(secondsSinceEpoch: 1_795_000_009)
    #expect(
      try JournalFile(7, in: fixture.instance.runtimeDirectory).append(facts.journalRecord(isWhole: false)))
    let record = fixture.record(Self.one)
    try fixture.hinderSealing(of: record)
    // Another is put down behind what there was.
    try fixture.leave(Self.two, .released)
    #expect(rename("\(path)/1.json-seq", "\(path)/5.json-seq") == 0)
    #expect(try await fixture.recover()[Self.one]?.outcome == .workFailed)
    #expect(
      try RuntimeDirectory.names(in: path).filter { !$0.hasPrefix(".") }.sorted() == [
        "3.json-seq", "7.json-seq",
      ])
    let file = fixture.host.journal.hold(for: 1)
    #expect(file.number > 7)
    #expect(fixture.host.journal.release(file.number).map(\.number) == [file.number])
    fixture.allowSealing()
    #expect(try await fixture.recover()[Self.one]?.problems == [])
    #expect(record.metadata?.outcome == "work_failed")
  }

  @Test("an end that was put down after the session's directory had gone is not lost") @Loop
  func endedWithoutDirectory() async throws {
    let fixture = try Fixture()
    defer { fixture.clear() }
    try fixture.leave(Self.one, .ended, ending: .exited(code: 5))
    try fixture.leave(Self.two, .released)
    for session in [Self.one, Self.two] { try PrivateDirectory(path: fixture.directory(session)).remove() }
    let ends = try await fixture.recover()
    #expect(ends.mapValues(\.outcome) == [Self.one: .workFailed, Self.two: .error])
    #expect(fixture.record(Self.one).metadata?.endTimestamp == Timestamp(secondsSinceEpoch: 1_795_000_009))
    #expect(!exists("\(fixture.instance.runtimeDirectory)/journal"))
  }

  @Test("a journal that cannot be read stops the start, with the reason") @Loop
  func unreadableJournal() async throws {
    let fixture = try Fixture()
    defer { fixture.clear() }
    try fixture.leave(Self.one, .released)
    let file = "\(fixture.instance.runtimeDirectory)/journal/1.json-seq"
    #expect(truncate(file, off_t(JournalFile.sizeLimit + 1)) == 0)
    let failure = await #expect(throws: RecoveryFailure.self) { try await fixture.recover() }
    #expect(
      failure?.description.hasPrefix("The runtime directory cannot be read (read \(file): File too large)")
        == true)
    #expect(exists(fixture.directory(Self.one)))
  }

  @Test("an end that was written down holds, whatever is left of the session") @Loop
  func ended() async throws {
    let fixture = try Fixture()
    defer { fixture.clear() }
    try fixture.leave(Self.one, .ended, ending: .exited(code: 5))
    // Half sealed, as by a daemon that was killed in the middle of it.
    let record = fixture.record(Self.one)
    try write("x", to: "\(record.runaPath)/file", mode: 0o444)
    #expect(chmod(record.runaPath, 0o555) == 0)
    let ends = try await fixture.recover()
    #expect(ends[Self.one]?.outcome == .workFailed)
    let metadata = try #require(record.metadata)
    #expect(metadata.exitCode == 5)
    #expect(metadata.endTimestamp == Timestamp(secondsSinceEpoch: 1_795_000_009))
    #expect(record.standing == .complete)
    #expect(!exists(fixture.directory(Self.one)))
  }

  @Test("a complete record is left as it is, and only the rest of its session is removed") @Loop
  func complete() async throws {
    let fixture = try Fixture()
    defer { fixture.clear() }
    try fixture.leave(Self.one, .ended, ending: .exited(code: 0))
    let path = fixture.record(Self.one).metadataPath
    #expect(chmod(path, 0o444) == 0)
    let text = try contents(of: path)
    let ends = try await fixture.recover()
    #expect(ends[Self.one]?.problems == [])
    #expect(try contents(of: path) == text)
    #expect(!exists(fixture.directory(Self.one)))
  }

  @Test("a record that cannot be sealed keeps its facts, and the next start tries again") @Loop
  func unsealable() async throws {
    let fixture = try Fixture()
    defer { fixture.clear() }
    try fixture.leave(Self.one, .ended, ending: .exited(code: 0))
    let record = fixture.record(Self.one)
    try fixture.hinderSealing(of: record)
    let ends = try await fixture.recover()
    #expect(ends[Self.one]?.problems.count == 1)
    #expect(record.standing == .open)
    #expect(try fixture.facts(Self.one)?.ending == .exited(code: 0))
    #expect(exists(fixture.directory(Self.one)))
    fixture.allowSealing()
    let second = try await fixture.recover()
    #expect(second[Self.one]?.problems == [])
    #expect(record.metadata?.outcome == "success")
    #expect(!exists(fixture.directory(Self.one)))
  }

  @Test("a session that nobody was told of leaves nothing") @Loop
  func unaccepted() async throws {
    let fixture = try Fixture()
    defer { fixture.clear() }
    try fixture.leave(Self.one, .prepared, hasRecord: false)
    // A record whose making was cut short.
    try fixture.leave(Self.two, .prepared)
    #expect(unlink(fixture.record(Self.two).metadataPath) == 0)
    let ends = try await fixture.recover()
    #expect(ends.isEmpty)
    #expect(!exists(fixture.directory(Self.one)))
    #expect(!exists(fixture.directory(Self.two)))
    #expect(!exists(fixture.record(Self.two).path))
    #expect(fixture.events["agentd.session_recovered"].isEmpty)
    #expect(fixture.events["agentd.startup_reconciliation_completed"].first?["removed_directories"] == "2")
  }

  @Test("without facts the record and podman tell, and records of others are left alone") @Loop
  func lostRuntimeDirectory() async throws {
    let fixture = try Fixture()
    defer { fixture.clear() }
    let id = fixture.instance.id
    for session in [Self.one, Self.two, Self.three] { _ = try fixture.leaveRecord(session, daemon: id) }
    let foreign = ["0000000000000004", "0000000000000005"]
    _ = try fixture.leaveRecord(foreign[0], daemon: "ffffffff")
    _ = try fixture.leaveRecord(foreign[1], daemon: nil)
    let done = "0000000000000006"
    _ = try fixture.leaveRecord(done, daemon: id)
    #expect(chmod(fixture.record(done).metadataPath, 0o444) == 0)
    // Its facts are there and cannot be read.
    let directory = PrivateDirectory(path: fixture.directory(Self.three))
    #expect(mkdir(directory.path, 0o700) == 0)
    try write("{\n{\n", to: "\(directory.path)/facts.jsonl")
    try fixture.leaveContainers([(Self.one, "exited", 4, true), (Self.two, "exited", 0, false)])
    let ends = try await fixture.recover()
    #expect(ends.mapValues(\.outcome) == [Self.one: .nothingReady, Self.two: .error, Self.three: .error])
    #expect(ends[Self.two]?.reason == Decision.lost)
    let metadata = try #require(fixture.record(Self.one).metadata)
    #expect(metadata.outcome == "nothing_ready")
    #expect(metadata.endTimestamp?.rfc3339 == "2026-11-23T04:05:06.250Z")
    // How far it came, and when, is not made up from the phase that its record was made in.
    #expect(metadata.phases.map(\.name) == ["teardown", "seal"])
    for session in foreign { #expect(fixture.record(session).metadata?.outcome == nil) }
    #expect(
      fixture.events["runner.lifecycle_failure"].map { $0["reason"] } == [
        "The facts of session \(Self.three) cannot be read: it is not JSON with a version."
      ])
    #expect(try PrivateDirectory.sessions(in: fixture.instance.runtimeDirectory).isEmpty)
  }

  @Test("an outcome that was on the disk when the power failed is the session's, word for word") @Loop
  func staged() async throws {
    let fixture = try Fixture()
    defer { fixture.clear() }
    let endings: [Ending] =
      [0, 1, 2, 3, 4, 5, 6, 77, 126, 127, 137].map { .exited(code: $0) } + [
        .timedOut(code: nil), .timedOut(code: 143), .setupFailed(code: 6, reason: nil),
        .noShell("base:1"), .failed(reason: "a \"reason\", as it was"), .failed(reason: ""),
      ]
    var sessions: [String: Ending] = [:]
    for (number, ending) in endings.enumerated() {
      let session = "00000000000001\(number + 10)"
      try fixture.stage(session, ending)
      sessions[session] = ending
    }
    // podman and the kernel know no better: a container that a reboot ended is 0 to podman.
    try fixture.leaveContainers([
      ("0000000000000110", "exited", 0, true), ("0000000000000111", "exited", 0, false),
    ])
    let ends = try await fixture.recover()
    #expect(ends.count == endings.count)
    for (session, ending) in sessions {
      let conclusion = Conclusion(ending)
      let metadata = try #require(fixture.record(session).metadata)
      #expect(metadata.outcome == conclusion.outcome.label)
      #expect(metadata.exitCode == conclusion.exitCode)
      #expect(metadata.signal == conclusion.signal)
      #expect(metadata.error == conclusion.reason)
      #expect(ends[session]?.outcome == conclusion.outcome)
      #expect(ends[session]?.problems == [])
      #expect(metadata.endTimestamp == Fixture.stagedEnd)
      #expect(metadata.commit == String(repeating: "c", count: 40))
      #expect(metadata.imageDigest?.hasSuffix("dddd") == true)
      #expect(metadata.phases.map(\.name) == ["setup", "command", "teardown", "seal"])
      #expect(metadata.phases[1].endTimestamp == Fixture.stagedEnd)
      let agentd = "\(fixture.record(session).path)/agentd"
      #expect(mode(of: fixture.record(session).metadataPath) == 0o444)
      #expect(!exists("\(agentd)/.session.json.new"))
      #expect(try fixture.podman.calls(of: "rm").contains { $0.contains(session) })
      #expect(!exists(fixture.directory(session)))
    }
    #expect(Set(fixture.events["agentd.session_recovered"].map { $0["how"] }) == ["finished"])
  }

  @Test("an outcome that its record has is a session's whose facts could not be kept to the end") @Loop
  func stagedBeyondFacts() async throws {
    let fixture = try Fixture()
    defer { fixture.clear() }
    // The facts say that it was released; its container is gone, and nobody else knows how it ended.
    try fixture.leave(Self.one, .released, hasRecord: false)
    try fixture.stage(Self.one, .exited(code: 3))
    try fixture.leave(Self.two, .released)
    let ends = try await fixture.recover()
    #expect(ends.mapValues(\.outcome) == [Self.one: .blocked, Self.two: .error])
    let metadata = try #require(fixture.record(Self.one).metadata)
    #expect(metadata.outcome == "blocked")
    #expect(metadata.exitCode == 3)
    #expect(metadata.endTimestamp == Fixture.stagedEnd)
    #expect(metadata.phases.map(\.name) == ["setup", "command", "teardown", "seal"])
    #expect(fixture.record(Self.two).metadata?.error == Decision.removed)
    #expect(fixture.record(Self.one).standing == .complete)
  }

  @Test("what was staged and is cut, empty, another's or of another build is as if it were not there") @Loop
  func unusableStaged() async throws {
    let fixture = try Fixture()
    defer { fixture.clear() }
    func path(_ session: String) -> String { "\(fixture.record(session).path)/agentd/.session.json.new" }
    let four = "0000000000000004"
    let five = "0000000000000005"
    for session in [Self.one, Self.two, four] { try fixture.stage(session, .exited(code: 0)) }
    try fixture.stage(Self.three, .exited(code: 0), daemon: "ffffffff")
    let whole = try contents(of: path(Self.one))
    try write(String(whole.dropLast(3)), to: path(Self.one))
    try write("", to: path(Self.two))
    try write(whole.replacing("success", with: "victory"), to: path(four))
    try fixture.stage(five, .exited(code: 0))
    try write(whole, to: path(five))
    let ends = try await fixture.recover()
    #expect(ends.count == 5)
    for session in [Self.one, Self.two, Self.three, four, five] {
      let metadata = try #require(fixture.record(session).metadata)
      #expect(metadata.outcome == "error")
      #expect(metadata.error == Decision.lost)
      #expect(metadata.exitCode == nil)
      #expect(metadata.commit == nil)
      #expect(fixture.record(session).standing == .complete)
      #expect(!exists(path(session)))
    }
  }

  @Test("a record whose last session.json has its name and not its mode yet is completed with what it says")
  @Loop
  func namedNotClosed() async throws {
    let fixture = try Fixture()
    defer { fixture.clear() }
    try fixture.stage(Self.one, .exited(code: 4))
    let record = fixture.record(Self.one)
    #expect(rename("\(record.path)/agentd/.session.json.new", record.metadataPath) == 0)
    #expect(try await fixture.recover()[Self.one]?.outcome == .nothingReady)
    #expect(record.metadata?.outcome == "nothing_ready")
    #expect(record.standing == .complete)
  }

  @Test("nothing is published of what was staged while the container is there; a later start does it") @Loop
  func stagedAndNotRemoved() async throws {
    let fixture = try Fixture(#"if [ $verb = rm ] && [ -e "$here/stuck" ]; then fail 125 'it is stuck'; fi"#)
    defer { fixture.clear() }
    try fixture.stage(Self.one, .exited(code: 3))
    let record = fixture.record(Self.one)
    try write("", to: "\(fixture.scratch.path)/stuck")
    // Each time without facts, as after one power failure more.
    for _ in 0..<2 {
      #expect(try await fixture.recover()[Self.one]?.problems.count == 1)
      #expect(record.standing == .open)
      #expect(record.metadata?.outcome == nil)
      #expect(record.stagedMetadata?.outcome == "blocked")
      let directory = PrivateDirectory(path: fixture.directory(Self.one))
      try directory.remove()
      let run = fixture.instance.runtimeDirectory
      for number in try JournalFile.numbers(in: run) { JournalFile(number, in: run).remove() }
    }
    #expect(try await fixture.recover()[Self.one]?.problems.count == 1)
    #expect(unlink("\(fixture.scratch.path)/stuck") == 0)
    // And with the facts that the start before has written.
    #expect(try fixture.facts(Self.one)?.ending == .exited(code: 3))
    #expect(exists(fixture.directory(Self.one)))
    #expect(try await fixture.recover()[Self.one]?.problems == [])
    #expect(record.metadata?.outcome == "blocked")
    #expect(record.metadata?.endTimestamp == Fixture.stagedEnd)
    #expect(record.standing == .complete)
  }

  @Test("containers and directories of no session are removed, and what is not of this instance stays") @Loop
  func leftovers() async throws {
    let fixture = try Fixture()
    defer { fixture.clear() }
    let id = fixture.instance.id
    let names = [
      "agentd-\(id)-worker-\(Self.one)", "agentd-\(id)-worker-\(Self.two)",
      "agentd-0badc0de-worker-\(Self.three)", "database", "agentd-\(id)-worker-7",
    ]
    try write(names.map { "\($0)\texited\n" }.joined(), to: "\(fixture.scratch.path)/listing")
    let inspection = names.map { "\($0) 0123abcd 0 0 exited 0 false \"0001-01-01T00:00:00Z\"\n" }
    try write(inspection.prefix(2).joined(), to: "\(fixture.scratch.path)/inspection")
    for name in [Self.three, "not-a-session"] {
      #expect(mkdir(fixture.directory(name), 0o700) == 0)
      try write("x", to: "\(fixture.directory(name))/report")
    }
    try write("x", to: "\(fixture.directory(Self.two)).report")
    #expect(mkdir(fixture.directory(Self.two), 0o700) == 0)
    // Of sessions that are over, and what no daemon has written.
    let journal = "\(fixture.instance.runtimeDirectory)/journal"
    let over = "{\"session\":\"0000000000000009\",\"progress\":{}}"
    for number in [4, 5] {
      #expect(
        try JournalFile(number, in: fixture.instance.runtimeDirectory).append(
          Array("\u{1e}\(over)\n\u{1e}x\n".utf8)))
    }
    #expect(try await fixture.recover().isEmpty)
    #expect(!exists(journal))
    #expect(
      fixture.events["runner.lifecycle_failure"].map { $0["reason"] } == [
        "Of the journal 2 records name no session: see who wrote them."
      ])
    let removed = try fixture.podman.calls(of: "rm").flatMap { $0.split(separator: " ") }
      .filter { $0.contains("worker") }.map(String.init)
    #expect(Set(removed) == Set(names.prefix(2)))
    for name in [Self.two, Self.three] {
      #expect(!exists(fixture.directory(name)))
      #expect(!exists("\(fixture.directory(name)).report"))
    }
    #expect(exists("\(fixture.directory("not-a-session"))/report"))
    #expect(
      fixture.events["agentd.startup_reconciliation_completed"] == [
        ["removed_containers": "2", "removed_directories": "2", "recovered_sessions": "0"]
      ])
    #expect(rmdir(fixture.directory("not-a-session")) != 0)
  }

  @Test("a container or a directory that cannot be removed is told and does not stop the start") @Loop
  func stuck() async throws {
    let fixture = try Fixture("if [ $verb = rm ]; then fail 125 'it is stuck'; fi")
    defer { fixture.clear() }
    try fixture.leaveContainers([(Self.one, "exited", 0, true)])
    #expect(mkdir(fixture.directory(Self.two), 0o700) == 0)
    #expect(mkdir("\(fixture.directory(Self.two))/nested", 0o700) == 0)
    #expect(try await fixture.recover().isEmpty)
    let reasons = fixture.events["runner.lifecycle_failure"].compactMap { $0["reason"] }
    #expect(reasons.contains { $0.hasSuffix("was not removed: podman rm: it is stuck.") })
    #expect(reasons.contains { $0.hasPrefix("The private directory of the dead session \(Self.two)") })
    #expect(
      fixture.events["agentd.startup_reconciliation_completed"].first?["removed_containers"] == "0")
  }

  @Test("a podman that does not list its containers stops the start, with the reason") @Loop
  func noListing() async throws {
    let fixture = try Fixture()
    defer { fixture.clear() }
    try fixture.leave(Self.one, .released)
    #expect(unlink("\(fixture.scratch.path)/listing") == 0)
    let failure = await #expect(throws: RecoveryFailure.self) { try await fixture.recover() }
    #expect(
      failure?.description.hasPrefix("Podman does not tell which containers there are (podman ps") == true)
    #expect(try fixture.facts(Self.one)?.step == .released)
    #expect(exists(fixture.directory(Self.one)))
  }

  @Test("a launch that an earlier daemon left behind is waited for before podman is asked") @Loop
  func orphanedLaunch() async throws {
    let fixture = try Fixture()
    defer { fixture.clear() }
    try fixture.leave(Self.one, .prepared)
    // What stands for podman: named like it, and it makes its container before it ends.
    let name = "agentd-\(fixture.instance.id)-worker-\(Self.one)"
    let gate = try makeFIFO("\(fixture.scratch.path)/go")
    let script = "echo up >>\"$0/ready\"; read word <\"$0/go\"; echo made >\"$0/made\"; exit 0"
    try write("", to: "\(fixture.scratch.path)/ready")
    let orphan = try Child(
      Command(
        executable: "/bin/sh", arguments: ["-c", script, fixture.scratch.path, "run", "--name", name],
        environment: [], deadline: .seconds(3600)))
    // The kernel lets the parent of a vfork go on a moment before the new program has its words.
    try await fixture.podman.wait(for: 1, linesIn: "ready")
    let recovery = Loop.spawn { try? await fixture.recover(launchPatience: .seconds(3600)) }
    await fixture.events.wait(for: "agentd.orphaned_launch_found")
    #expect(try fixture.podman.calls().isEmpty)
    #expect(write(gate.raw, "go\n", 3) == 3)
    #expect(await orphan.wait().succeeded)
    #expect(await recovery.value?[Self.one]?.outcome == .error)
    #expect(exists("\(fixture.scratch.path)/made"))
    #expect(try fixture.podman.calls(of: "rm").count == 1)
    #expect(fixture.events["agentd.orphaned_launch_killed"].isEmpty)
  }
}
