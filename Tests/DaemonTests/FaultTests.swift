// What fails below the daemon, on a stand-in for podman: each session comes to an outcome, and the daemon lives.

import Control
import Engine
import Glibc
import Reactor
import TestSupport
import Testing

@testable import Audit
@testable import Daemon
@testable import Sessions

@Suite("Faults below the daemon")
struct FaultTests {
  @Test("a podman that hangs or fails when the daemon starts is why it does not start", .exitTest)
  func refusedStart() async {
    await #expect(processExitsWith: .success) {
      try prepareService()
      try await refuseToStart()
    }
  }

  @Test("a podman that hangs is killed at its deadline, which ends its session and no other", .exitTest)
  func hanging() async {
    await #expect(processExitsWith: .success) {
      try prepareService()
      try await hangAtEachStep()
    }
  }

  @Test("a conmon that is killed after its container has ended leaves the session its code", .exitTest)
  func conmonKilledLate() async {
    await #expect(processExitsWith: .success) {
      try prepareService()
      try await killConmonLate()
    }
  }

  @Test(
    "a disk that is full where records are ends no session wrongly, and the next start completes its record",
    .exitTest)
  func fullAuditRoot() async {
    await #expect(processExitsWith: .success) {
      try prepareService()
      try await fillAuditRoot()
    }
  }

  @Test("a session whose record does not come to the disk is not released", .exitTest)
  func lostRecord() async {
    await #expect(processExitsWith: .success) {
      try prepareService()
      try await loseRecord()
    }
  }

  @Test("a disk that is full where sessions keep their facts ends each with its reason", .exitTest)
  func fullRuntimeDirectory() async {
    await #expect(processExitsWith: .success) {
      try prepareService()
      try await fillRuntimeDirectory()
    }
  }

  @Test("facts that somebody has removed are written whole with the next step", .exitTest)
  func removedJournal() async {
    await #expect(processExitsWith: .success) {
      try prepareService()
      try await removeJournal()
    }
  }

  @Test(
    "sessions are made where the runtime directory is by now, and refused where there is none",
    .exitTest)
  func replacedRuntimeDirectory() async {
    await #expect(processExitsWith: .success) {
      try prepareService()
      try await replaceRuntimeDirectory()
    }
  }

  @Test(
    "a daemon without descriptors refuses sessions or ends them with a reason, however many are left",
    .exitTest)
  func noDescriptors() async {
    await #expect(processExitsWith: .success) {
      try prepareService(alone: true)
      try await runOutOfDescriptors()
    }
  }
}

extension FaultTests {
  @Test("a kernel that starts no process ends each session with its reason, and the daemon lives", .exitTest)
  func noProcesses() async {
    for error in [ENOMEM, EAGAIN] {
      await #expect(processExitsWith: .success) { [error = error as Int32] in
        try prepareService(alone: true)
        try await refuseProcesses(error)
      }
    }
  }
}

/// Time enough for a stand-in on a busy machine, and little to wait for one that hangs.
private var shortDeadlines: Containers.Deadlines {
  var deadlines = Containers.Deadlines()
  deadlines.launch = .seconds(3)
  deadlines.question = .seconds(3)
  deadlines.removal = .seconds(3)
  return deadlines
}

/// The reasons of this event so far.
private func reasons(_ event: String) -> [String] { ServiceFixture.log[event].compactMap { $0["reason"] } }

// MARK: podman and conmon

@Loop private func refuseToStart() async throws {
  for (verb, sentence) in [
    ("info", "Podman does not work ("), ("ps", "Podman does not tell which containers"),
  ] {
    for (script, reason) in [
      ("exec sleep 1000", "took too long and was killed"),
      ("fail 125 'database is broken'", "database is broken"),
      ("kill -KILL $$", "ended with signal 9"),
    ] {
      let fixture = try ServiceFixture()
      defer { fixture.scratch.remove() }
      try fixture.on(verb, script)
      fixture.start(deadlines: shortDeadlines)
      let refusal = try #require(await fixture.end())
      #expect(refusal.hasPrefix(sentence))
      #expect(refusal.contains(reason))
      #expect(!exists(fixture.pidFile))
      // What hangs has had its time; what fails may have been chance.
      #expect(try fixture.podman.calls(of: verb).count == (script.contains("sleep") ? 1 : 3))
    }
  }
}

@Loop private func hangAtEachStep() async throws {
  let fixture = try ServiceFixture()
  defer { fixture.scratch.remove() }
  fixture.start(deadlines: shortDeadlines)
  let client = try await fixture.connect()
  defer { client.close() }
  for (verb, reason) in [
    ("image", "podman image inspect took too long and was killed"),
    ("run", "took longer than 3 s and was killed"),
  ] {
    try fixture.on(verb, "exec sleep 1000")
    let session = try #require(await fixture.run(client))
    #expect(session.outcome == "error")
    #expect(session.reason?.contains(reason) == true)
    #expect(session.problems == [])
    #expect(reasons("runner.session_error").last == session.reason)
    #expect(Record(path: session.record).standing == .complete)
    fixture.clear(verb)
  }
  // Whatever became of the launch, its container was removed; and podman was asked to remove no other.
  #expect(try fixture.podman.calls(of: "rm").count == 1)

  try fixture.on("rm", "exec sleep 1000")
  let stuck = try #require(await fixture.run(client))
  #expect(stuck.outcome == "success")
  #expect(stuck.problems.count == 1)
  #expect(stuck.problems.first?.contains("podman rm took too long and was killed") == true)
  #expect(Record(path: stuck.record).standing == .open)
  #expect(Record(path: stuck.record).metadata?.outcome == nil)
  #expect(Record(path: stuck.record).stagedMetadata?.outcome == "success")
  // With others first, and then once by itself.
  #expect(try fixture.podman.calls(of: "rm").count == 3)
  fixture.clear("rm")
  #expect(try await fixture.run(client)?.problems == [])
  #expect(raise(SIGTERM) == 0)
  #expect(await fixture.end() == nil)
}

@Loop private func killConmonLate() async throws {
  let fixture = try ServiceFixture()
  defer { fixture.scratch.remove() }
  try fixture.on("end", "kill -KILL \"$(cat \"$4\")\"")
  fixture.start()
  let client = try await fixture.connect()
  defer { client.close() }
  let session = try #require(await fixture.run(client, code: 5))
  #expect(session.outcome == "work_failed")
  #expect(session.reason == nil)
  #expect(session.problems == [])
  #expect(raise(SIGTERM) == 0)
  #expect(await fixture.end() == nil)
}

// MARK: Full disks

/// A small file system of this process's own, that can be full.
private struct SmallDisk {
  let path: String

  init(at path: String) throws {
    self.path = path
    #expect(mkdir(path, 0o700) == 0)
    guard mount("tmpfs", path, "tmpfs", 0, "size=256k,mode=700") == 0 else {
      throw CallFailed("mount", errno)
    }
  }

  /// Gives the calling thread, and those that it starts, mounts of their own, which go with them.
  static func leaveMounts() throws {
    let newMounts: Int32 = 0x20000
    let unshare = try symbol("unshare", as: (@convention(c) (Int32) -> Int32).self)
    guard unshare(newMounts) == 0 else { throw CallFailed("unshare", errno) }
    let flags = UInt(MS_REC | MS_PRIVATE)
    guard mount("none", "/", nil, flags, nil) == 0 else { throw CallFailed("mount", errno) }
  }

  /// Shell that does what `fill` does.
  var filling: String { "cat /dev/zero >\"\(path)/.filler\" 2>\"$here/full\"" }

  func fill() {
    let file = open("\(path)/.filler", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    let zeros = [UInt8](repeating: 0, count: 4096)
    while write(file, zeros, zeros.count) > 0 {}
    close(file)
  }

  func empty() { unlink("\(path)/.filler") }
}

@Loop private func fillAuditRoot() async throws {
  try SmallDisk.leaveMounts()
  let fixture = try ServiceFixture()
  defer { fixture.scratch.remove() }
  let disk = try SmallDisk(at: fixture.configuration.daemon.auditRoot)
  fixture.start()
  let client = try await fixture.connect()

  disk.fill()
  try await client.send(ServiceFixture.request())
  let refusal = try #require(ServiceFixture.refusal(try await client.next()))
  #expect(refusal.contains("No space left on device"))
  #expect(reasons("agentd.run_rejected") == [refusal])
  disk.empty()

  // Full when the outcome is to be staged, and when the record is to be completed: the outcome is known and told.
  try fixture.on("end", disk.filling)
  let open = try #require(await fixture.run(client, code: 3))
  #expect(open.outcome == "blocked")
  #expect(open.problems.count == 1)
  #expect(open.problems.first?.contains("No space left on device") == true)
  #expect(reasons("runner.lifecycle_failure").last?.contains("No space left on device") == true)
  #expect(Record(path: open.record).standing == .open)
  #expect(Record(path: open.record).stagedMetadata == nil)
  fixture.clear("end")
  disk.empty()

  // Full when the record is to be completed whose outcome was staged: that has its room.
  let staged = "\(fixture.configuration.daemon.auditRoot)/worker/*/agentd/.session.json.new"
  try fixture.on(
    "rm", "until cat \(staged) 2>/dev/null | grep -q outcome; do sleep 0.01; done; \(disk.filling)")
  #expect(try await fixture.run(client, code: 5)?.problems == [])
  fixture.clear("rm")
  disk.empty()

  // Full when the reason is to be added to the output: it is told elsewhere.
  try fixture.on("run", "\(disk.filling); fail 125 'no space left on device'")
  try fixture.on("rm", "rm -f \"\(disk.path)/.filler\"")
  let failed = try #require(await fixture.run(client))
  #expect(failed.outcome == "error")
  #expect(failed.reason?.contains("no space left on device") == true)
  #expect(failed.problems == [])
  #expect(ServiceFixture.log["runner.lifecycle_failure"].last?["stage"] == "console")
  fixture.clear("run")
  fixture.clear("rm")

  #expect(try await fixture.run(client)?.problems == [])
  client.close()
  #expect(raise(SIGTERM) == 0)
  #expect(await fixture.end() == nil)
  // The next start asks podman twice and removes what is left; only then has it taken over the signals for sure.
  let calls = try fixture.podman.calls().count
  fixture.start()
  try await fixture.podman.wait(for: calls + 3)
  #expect(raise(SIGTERM) == 0)
  #expect(await fixture.end() == nil)
  #expect(Record(path: open.record).standing == .complete)
  #expect(Record(path: open.record).metadata?.outcome == "blocked")
  #expect(Record(path: open.record).metadata?.exitCode == 3)
  #expect(!exists(fixture.runtimeDirectory))
}

@Loop private func loseRecord() async throws {
  let fixture = try ServiceFixture()
  defer { fixture.scratch.remove() }
  fixture.start()
  let client = try await fixture.connect()
  defer { client.close() }
  // There already: the first session of a profile waits for its directory before it is accepted.
  #expect(mkdir("\(fixture.configuration.daemon.auditRoot)/worker", 0o700) == 0)
  try refuseSynchronizing(EIO)
  let session = try #require(await fixture.run(client))
  #expect(session.outcome == "error")
  #expect(session.reason?.contains("is not on the disk") == true)
  #expect(session.reason?.contains("so it was not released") == true)
  #expect(!session.problems.isEmpty)
  #expect(try contents(of: "\(fixture.scratch.path)/commands") == "")
  #expect(raise(SIGTERM) == 0)
  #expect(await fixture.end() == nil)
}

@Loop private func removeJournal() async throws {
  let fixture = try ServiceFixture()
  defer { fixture.scratch.remove() }
  fixture.start()
  let client = try await fixture.connect()
  defer { client.close() }
  // All of it, or the journal alone, while a container runs; what there is then when it is to be removed.
  for (number, files) in ["*", "journal"].enumerated() {
    let seen = "\(fixture.scratch.path)/seen_\(number)"
    try fixture.on("end", "rm -r \"$here\"/run/*/\(files)")
    try fixture.on("rm", "cp -r \"$here\"/run/*/ \(seen)")
    let session = try #require(await fixture.run(client, code: 4))
    #expect(session.outcome == "nothing_ready")
    #expect(session.problems == [])
    let id = try #require(SessionID(session.id))
    let facts = try #require(try JournalReading(in: seen).records[id]?.facts())
    #expect(facts.step == .ended)
    #expect(facts.ending == .exited(code: 4))
    #expect(facts.profile?.name == "worker")
    #expect(try PrivateDirectory.sessions(in: seen) == [id])
    #expect(entries(of: fixture.runtimeDirectory) == [])
    fixture.clear("end")
    fixture.clear("rm")
  }
  #expect(ServiceFixture.log["runner.lifecycle_failure"].isEmpty)
  #expect(try await fixture.run(client)?.outcome == "success")
  #expect(raise(SIGTERM) == 0)
  #expect(await fixture.end() == nil)
}

@Loop private func replaceRuntimeDirectory() async throws {
  let fixture = try ServiceFixture()
  defer { fixture.scratch.remove() }
  fixture.start()
  let client = try await fixture.connect()
  defer { client.close() }
  #expect(try await fixture.run(client)?.outcome == "success")
  let (path, away) = (fixture.runtimeDirectory, "\(fixture.scratch.path)/away")
  #expect(rename(path, away) == 0)
  #expect(mkdir(path, 0o700) == 0)
  for _ in 0..<2 {
    let session = try #require(await fixture.run(client))
    #expect(session.outcome == "success")
    #expect(session.problems == [])
  }
  // Nothing is left in either.
  #expect(rmdir(away) == 0)
  #expect(rmdir(path) == 0)
  #expect(try await fixture.run(client) == nil)
  #expect(reasons("agentd.run_rejected").last?.contains("private directory cannot be made") == true)
  #expect(mkdir(path, 0o700) == 0)
  #expect(try await fixture.run(client)?.outcome == "success")
  #expect(raise(SIGTERM) == 0)
  #expect(await fixture.end() == nil)
}

@Loop private func fillRuntimeDirectory() async throws {
  try SmallDisk.leaveMounts()
  // Long enough that a repository's name can do the rest; see below.
  let fixture = try ServiceFixture(command: String(repeating: "a", count: 1500))
  defer { fixture.scratch.remove() }
  let disk = try SmallDisk(at: "\(fixture.scratch.path)/run")
  fixture.start()
  let client = try await fixture.connect()
  defer { client.close() }

  disk.fill()
  try await client.send(ServiceFixture.request())
  let refusal = try #require(ServiceFixture.refusal(try await client.next()))
  #expect(refusal.contains("No space left on device"))
  #expect(entries(of: "\(fixture.configuration.daemon.auditRoot)/worker") == [])
  disk.empty()

  // How long the facts are when each step comes to be added.
  let verbs = ["started", "end"]
  for verb in verbs {
    try fixture.on(verb, "cat \"$here\"/run/*/journal/*.json-seq >\"$here/facts_\(verb)\"")
  }
  #expect(try await fixture.run(client)?.outcome == "success")
  for verb in verbs { fixture.clear(verb) }
  /// A repository with so long a name that the step that is added then is on two pages, of which a full disk has one.
  func repository(at verb: String) throws -> String {
    let length = try contents(of: "\(fixture.scratch.path)/facts_\(verb)").utf8.count
    let page = 4096
    return "https://example.org/a\(String(repeating: "a", count: page - (length + 40) % page)).git"
  }

  for (verb, reason) in [("started", "so it was not released")] {
    let repository = try repository(at: verb)
    // What stands for podman has written its numbers when the disk is filled.
    try fixture.on(verb, disk.filling)
    let session = try #require(await fixture.run(client, repository: repository))
    #expect(session.outcome == "error")
    #expect(session.reason?.contains("No space left on device") == true)
    #expect(session.reason?.contains(reason) == true)
    #expect(session.problems == [])
    #expect(Record(path: session.record).standing == .complete)
    #expect(reasons("runner.session_error").last == session.reason)
    fixture.clear(verb)
    disk.empty()
  }

  // podman itself cannot write down who runs.
  try fixture.on("run", disk.filling)
  let unknown = try #require(await fixture.run(client))
  #expect(unknown.outcome == "error")
  #expect(unknown.reason?.contains("process ids") == true)
  fixture.clear("run")
  disk.empty()

  // None of those before is to fill it: not a session with unknown process ids, nor one that was not released.
  try await fixture.waitForConmons(3)

  // The end of a session is true where its facts cannot be kept.
  let repository = try repository(at: "end")
  try fixture.on("end", disk.filling)
  let ended = try #require(await fixture.run(client, repository: repository, code: 4))
  #expect(ended.outcome == "nothing_ready")
  #expect(ended.problems == [])
  #expect(ServiceFixture.log["runner.lifecycle_failure"].last?["stage"] == "facts")
  fixture.clear("end")
  disk.empty()

  #expect(try await fixture.run(client)?.outcome == "success")
  #expect(raise(SIGTERM) == 0)
  #expect(await fixture.end() == nil)
  #expect(!exists(fixture.runtimeDirectory))
}

private func entries(of path: String) -> [String] {
  guard let directory = opendir(path) else { return [] }
  defer { closedir(directory) }
  var names: [String] = []
  while let entry = readdir(directory) {
    let name = withUnsafeBytes(of: &entry.pointee.d_name) {
      String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
    }
    if name != ".", name != ".." { names.append(name) }
  }
  return names
}

// MARK: Descriptors

/// Lets the process open descriptors with numbers below this only; returns what was allowed before.
@discardableResult
private func limitDescriptors(to limit: rlim_t) -> rlim_t {
  var value = rlimit()
  let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
  #expect(getrlimit(resource, &value) == 0)
  let before = value.rlim_cur
  value.rlim_cur = limit
  #expect(setrlimit(resource, &value) == 0)
  return before
}

@Loop private func runOutOfDescriptors() async throws {
  let fixture = try ServiceFixture()
  defer { fixture.scratch.remove() }
  fixture.start()
  let client = try await fixture.connect()
  defer { client.close() }
  // Its connection is one that the daemon has taken.
  try await client.send(.list)
  #expect(try await client.next() == .sessions(sessions: []))
  // From none to be had to enough for a session: a limit is a number, and most below the highest may be taken.
  let taken = Set(openDescriptors().compactMap { $0.split(separator: " ").first.flatMap { rlim_t($0) } })
  let free = (0...).lazy.filter { !taken.contains($0) }.prefix(24)
  var outcomes: Set<String> = []
  for number in free {
    let allowed = limitDescriptors(to: number)
    let session = try await fixture.run(client)
    limitDescriptors(to: allowed)
    outcomes.insert(session?.outcome ?? "refused")
    guard session?.outcome == "error" else { continue }
    #expect(session?.reason?.isEmpty == false)
    #expect(reasons("runner.session_error").last == session?.reason)
  }
  #expect(outcomes == ["refused", "error", "success"])
  #expect(!reasons("agentd.run_rejected").isEmpty)
  #expect(reasons("agentd.run_rejected").allSatisfy { $0.contains("Too many open files") })
  let last = try await fixture.run(client)
  #expect(last?.outcome == "success")
  #expect(last?.problems == [])
  #expect(raise(SIGTERM) == 0)
  #expect(await fixture.end() == nil)
}

// MARK: Processes

/// Has the kernel refuse the calling thread every new process, for ever.
private func refuseNewProcesses(_ error: Int32) throws {
  #if arch(x86_64)
    let calls: [UInt32] = [56, 57, 58, 435]  // clone, fork, vfork, clone3
  #else
    let calls: [UInt32] = [220, 435]  // clone, clone3
  #endif
  try refuse(calls, error, toAllThreads: false)
}

/// Has the kernel fail to bring any file to its disk, for ever and for all of this process.
private func refuseSynchronizing(_ error: Int32) throws {
  #if arch(x86_64)
    let calls: [UInt32] = [74, 75]  // fsync, fdatasync
  #else
    let calls: [UInt32] = [82, 83]  // fsync, fdatasync
  #endif
  try refuse(calls, error, toAllThreads: true)
}

/// Has the kernel answer calls with an error, by seccomp(2).
private func refuse(_ calls: [UInt32], _ error: Int32, toAllThreads: Bool) throws {
  // struct sock_filter: code, jump if true, jump if false, operand.
  func instruction(_ code: UInt16, _ jumps: (UInt8, UInt8), _ operand: UInt32) -> UInt64 {
    UInt64(code) | UInt64(jumps.0) << 16 | UInt64(jumps.1) << 24 | UInt64(operand) << 32
  }
  let (load, jumpIfEqual, answer): (UInt16, UInt16, UInt16) = (0x20, 0x15, 0x06)
  var program = [instruction(load, (0, 0), 0)]
  for (index, call) in calls.enumerated() {
    program.append(instruction(jumpIfEqual, (UInt8(calls.count - index), 0), call))
  }
  program.append(instruction(answer, (0, 0), 0x7fff_0000))  // allow
  program.append(instruction(answer, (0, 0), 0x0005_0000 | UInt32(error)))
  typealias Control = @convention(c) (Int32, UInt, UInt, UInt, UInt) -> Int32
  typealias Call = @convention(c) (Int, UInt, UInt, UInt) -> Int
  let prctl = try symbol("prctl", as: Control.self)
  let system = try symbol("syscall", as: Call.self)
  #if arch(x86_64)
    let seccomp = 317
  #else
    let seccomp = 277
  #endif
  // 38 is PR_SET_NO_NEW_PRIVS (linux/prctl.h).
  guard prctl(38, 1, 0, 0, 0) == 0 else { throw CallFailed("no_new_privs", errno) }
  let result = program.withUnsafeBufferPointer { instructions in
    // struct sock_fprog: how many, and where.
    let words = [UInt(instructions.count), UInt(bitPattern: instructions.baseAddress)]
    return words.withUnsafeBytes {
      // 1 is SECCOMP_SET_MODE_FILTER, and as a flag SECCOMP_FILTER_FLAG_TSYNC (linux/seccomp.h).
      system(seccomp, 1, toAllThreads ? 1 : 0, UInt(bitPattern: $0.baseAddress))
    }
  }
  guard result == 0 else { throw CallFailed("seccomp", errno) }
}

@Loop private func refuseProcesses(_ error: Int32) async throws {
  let fixture = try ServiceFixture()
  defer { fixture.scratch.remove() }
  fixture.start()
  let client = try await fixture.connect()
  defer { client.close() }
  #expect(try await fixture.run(client)?.outcome == "success")
  // The loop's thread starts all of the daemon's processes.
  try refuseNewProcesses(error)
  for _ in 0..<3 {
    let session = try #require(await fixture.run(client))
    #expect(session.outcome == "error")
    #expect(session.reason?.contains(String(cString: strerror(error))) == true)
    #expect(reasons("runner.session_error").last == session.reason)
    // podman never began, so there is no container that it would have to remove.
    #expect(session.problems == [])
    #expect(Record(path: session.record).standing == .complete)
  }
  try await client.send(.list)
  #expect(try await client.next() == .sessions(sessions: []))
  #expect(raise(SIGTERM) == 0)
  #expect(await fixture.end() == nil)
}
