// What a client asks for: every way in which it is not in order is refused with a sentence of its own.

import Control
import Cron
import Glibc
import Profiles
import Reactor
import Sessions
import TestSupport
import Testing

@testable import Daemon

@Suite("Intake")
struct IntakeTests {
  init() { LoopThread.start() }

  private let scratch = Scratch()
  private var method: String { "\(scratch.path)/method" }

  /// An intake for a profile `worker` with these lines of its own.
  @Loop private func intake(_ lines: String, manifest: Bool = true) throws -> Intake {
    #expect(mkdir(method, 0o700) == 0)
    if manifest { try write("", to: "\(method)/manifest.toml") }
    let text = """
      [[profiles]]
      name = "worker"
      base_image = "base:1"
      methodology_dir = "\(method)"
      command = ["true"]
      \(lines)

      [[profiles]]
      name = "other"
      base_image = "base:1"
      methodology_dir = "\(method)"
      command = ["true"]
      """
    let host = Host(
      environment: ["HOME": "/root"], effectiveUserID: 0, workingDirectory: "/", exists: { _ in true },
      cores: 2, memory: 64 << 30, now: Loop.wallClock, zone: { _ in SystemZone(.utc, file: nil) })
    return Intake(
      configuration: try Configuration.parse(text, path: "/etc/agentd/agentd.toml", host: host))
  }

  private func request(
    _ profile: String = "worker", repository: String? = "https://example.org/a/b.git",
    workUnit: String? = nil,
    timeout: UInt64? = nil
  ) -> InvocationRequest {
    InvocationRequest(
      profile: profile, repository: repository, workUnit: workUnit, timeoutMilliseconds: timeout,
      detach: false)
  }

  @Loop private func refusal(_ request: InvocationRequest, by intake: Intake) -> String? {
    do throws(SessionRefusal) {
      try Invocation.requireFiles(of: intake.invocation(for: request).profile)
      return nil
    } catch {
      return error.description
    }
  }

  @Test("a request in order becomes an invocation with all that was asked for") @Loop
  func accepted() throws {
    defer { scratch.remove() }
    let intake = try intake("repo = \"https://example.org/own.git\"")
    let invocation = try intake.invocation(
      for: request(repository: nil, workUnit: "issue-42", timeout: 1500))
    #expect(invocation.profile.name == "worker")
    #expect(invocation.repository.text == "https://example.org/own.git")
    #expect(invocation.workUnit?.text == "issue-42")
    #expect(invocation.timeout == .milliseconds(1500))
    let other = try intake.invocation(for: request(repository: "git://example.org/given.git"))
    #expect(other.repository.text == "git://example.org/given.git")
    #expect(other.workUnit == nil)
    #expect(other.timeout == nil)
  }

  @Test("an unknown profile is named, with those that there are") @Loop
  func unknownProfile() throws {
    defer { scratch.remove() }
    let intake = try intake("")
    #expect(
      refusal(request("wrker\n"), by: intake)
        == "There is no profile \"wrker\\n\" in /etc/agentd/agentd.toml: it has worker, other.")
    let long = refusal(request(String(repeating: "x", count: 10_000)), by: intake)
    #expect((long?.utf8.count ?? .max) < 300)
  }

  @Test("a session needs a repository, from the request or from the profile") @Loop
  func noRepository() throws {
    defer { scratch.remove() }
    #expect(
      refusal(request(repository: nil), by: try intake(""))
        == "The repository cannot be used: profile worker has no repo; name a repository in the invocation.")
  }

  @Test(
    "a repository that git must not be given is refused",
    arguments: ["", "/srv/repo.git", "ssh://example.org/a.git", "--upload-pack=x", "https://example.org"])
  @Loop func badRepository(_ repository: String) throws {
    defer { scratch.remove() }
    let sentence = refusal(request(repository: repository), by: try intake(""))
    #expect(sentence?.hasPrefix("The repository cannot be used: must ") == true)
  }

  @Test("user info in a repository is refused and never repeated") @Loop
  func userInfo() throws {
    defer { scratch.remove() }
    let sentence = try #require(
      refusal(request(repository: "https://me:s3cr3t@example.org/a.git"), by: try intake("")))
    #expect(sentence.hasPrefix("The repository cannot be used: must not hold a user name or a password"))
    #expect(!sentence.contains("s3cr3t"))
    #expect(!sentence.contains("me:"))
  }

  @Test("a work unit that is none is refused", arguments: ["", "a\nb", String(repeating: "x", count: 257)])
  @Loop func badWorkUnit(_ workUnit: String) throws {
    defer { scratch.remove() }
    let sentence = refusal(request(workUnit: workUnit), by: try intake(""))
    #expect(sentence?.hasPrefix("The work unit cannot be used: it ") == true)
  }

  @Test(
    "a timeout has bounds",
    arguments: [
      (0, false), (1, true), (31_536_000_000, true), (31_536_000_001, false),
      (UInt64.max, false),
    ] as [(UInt64, Bool)])
  @Loop func timeout(_ milliseconds: UInt64, _ isAccepted: Bool) throws {
    defer { scratch.remove() }
    let sentence = refusal(request(timeout: milliseconds), by: try intake(""))
    #expect(sentence == (isAccepted ? nil : "The timeout must be longer than nothing and at most 365 days."))
  }

  @Test("an unset credential is told by profile, name and variable, and no value is told") @Loop
  func unsetCredential() throws {
    defer { scratch.remove() }
    // PATH stands for a variable that is set: its value must not be told.
    let intake = try intake(
      """
      [[profiles.credentials]]
      name = "SET_ONE"
      source = "PATH"
      [[profiles.credentials]]
      name = "API_KEY"
      source = "AGENTD_TEST_NEVER_SET"
      """)
    let sentence = refusal(request(), by: intake)
    #expect(
      sentence == "Profile worker, credential API_KEY: the daemon's environment has no variable "
        + "AGENTD_TEST_NEVER_SET. Export it and start the daemon again.")
  }

  @Test("an unset clone token is told by profile and variable") @Loop
  func unsetToken() throws {
    defer { scratch.remove() }
    #expect(
      refusal(request(), by: try intake("repo_token_source = \"AGENTD_TEST_NEVER_SET\""))
        == "Profile worker, repo_token_source: the daemon's environment has no variable AGENTD_TEST_NEVER_SET. "
        + "Export it and start the daemon again.")
  }

  @Test(
    "a clone token is not sent over http", arguments: ["http://example.org/a.git", "git://example.org/a.git"])
  @Loop func tokenInTheClear(_ repository: String) throws {
    defer { scratch.remove() }
    #expect(
      refusal(request(repository: repository), by: try intake("repo_token_source = \"PATH\""))
        == "The repository cannot be used: profile worker has a repo_token_source, so its repository must be "
        + "https://.")
  }

  @Test("a methodology without a manifest is refused") @Loop
  func missingManifest() throws {
    defer { scratch.remove() }
    #expect(
      refusal(request(), by: try intake("", manifest: false))
        == "Profile worker, methodology_dir: \(method)/manifest.toml cannot be read. A methodology has a "
        + "manifest.toml.")
  }

  @Test("a mount whose source has gone since the configuration was read is refused") @Loop
  func goneMount() throws {
    defer { scratch.remove() }
    let lines = """
      [[profiles.mounts]]
      source = "\(scratch.path)/data"
      target = "/srv/data"
      read_only = true
      """
    let intake = try intake(lines)
    #expect(
      refusal(request(), by: intake)
        == "Profile worker, mount /srv/data: its source \(scratch.path)/data does not exist any more.")
    #expect(mkdir("\(scratch.path)/data", 0o700) == 0)
    #expect(refusal(request(), by: intake) == nil)
  }
}

/// Bounds that no test meets.
let testCapacity = Capacity(sessions: 1000, queue: 1000, podmanProcesses: 4)

/// The worker of all tests of this process: its thread never ends.
@Loop func sharedWorker() throws -> Worker {
  let worker = try Shared.worker ?? Worker()
  Shared.worker = worker
  return worker
}

@Loop private enum Shared {
  static var worker: Worker?
}
