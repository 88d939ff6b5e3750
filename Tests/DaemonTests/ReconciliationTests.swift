// What a start removes: what dead sessions of this instance left, and nothing else.

import Engine
import Glibc
import Logging
import Profiles
import Reactor
import TestSupport
import Testing

@testable import Daemon

@Suite("Reconciliation")
struct ReconciliationTests {
  init() { LoopThread.start() }

  private let scratch = Scratch()
  private let events = Events()

  /// Reconciles with a stand-in for podman that lists these lines, `ID` standing for the daemon's id.
  @Loop private func reconcile(
    listing lines: [String], directories: [String] = [], _ body: String = ""
  ) async throws -> (podman: StubPodman, runtimeDirectory: String, id: String) {
    let worker = try sharedWorker()
    let settings = DaemonSettings(
      socketPath: "\(scratch.path)/run/s", pidFile: "\(scratch.path)/run/p", auditRoot: "/a")
    let instance = try Instance(claiming: settings)
    defer { instance.resign() }
    for directory in directories {
      #expect(mkdir("\(instance.runtimeDirectory)/\(directory)", 0o700) == 0)
      try write("x", to: "\(instance.runtimeDirectory)/\(directory)/report")
    }
    let listing = lines.map { $0.replacing("ID", with: instance.id) + "\n" }.joined()
    try write(listing, to: "\(scratch.path)/listing")
    let podman = try await StubPodman(
      in: scratch.path, "if [ $verb = ps ]; then exec cat \"$here/listing\"; fi\n\(body)")
    let containers = Containers(
      podman: Podman(executable: podman.executable), environment: ["PATH=/usr/bin:/bin"], worker: worker)
    let log = Logger(label: "agentd", factory: { [events] _ in EventRecorder(events) })
    try await Reconciliation(containers: containers, worker: worker, instance: instance, log: log).run()
    return (podman, instance.runtimeDirectory, instance.id)
  }

  @Test("dead containers of this instance are removed together, live and unclear ones are kept") @Loop
  func containers() async throws {
    defer { scratch.remove() }
    let (podman, _, id) = try await reconcile(listing: [
      "agentd-ID-worker-0000000000000001\texited", "agentd-ID-worker-0000000000000002\trunning",
      "agentd-ID-worker-0000000000000003\tcreated", "agentd-ID-worker-0000000000000004\tlevitating",
      "agentd-0badc0de-worker-0000000000000005\texited", "database\texited", "agentd-ID-worker-7\texited",
    ])
    let removed = try podman.calls(of: "rm").flatMap {
      $0.split(separator: " ").filter { $0.contains("worker") }
    }
    #expect(
      Set(removed) == ["agentd-\(id)-worker-0000000000000001", "agentd-\(id)-worker-0000000000000003"])
    #expect(
      events["agentd.startup_reconciliation_completed"] == [
        ["live_containers": "2", "removed_containers": "2", "removed_directories": "0"]
      ])
    #expect(events["agentd.live_containers_found"].count == 1)
  }

  @Test("private directories go unless their session's container lives, and other files stay") @Loop
  func directories() async throws {
    defer { scratch.remove() }
    let (_, directory, _) = try await reconcile(
      listing: ["agentd-ID-worker-0000000000000002\trunning"],
      directories: ["0000000000000001", "0000000000000002", "not-a-session"])
    #expect(!exists("\(directory)/0000000000000001"))
    #expect(exists("\(directory)/0000000000000002/report"))
    #expect(exists("\(directory)/not-a-session/report"))
    #expect(events["agentd.startup_reconciliation_completed"].first?["removed_directories"] == "1")
  }

  @Test("a private directory that cannot be removed is told and does not stop the start") @Loop
  func stuckDirectory() async throws {
    defer { scratch.remove() }
    let settings = DaemonSettings(
      socketPath: "\(scratch.path)/run/s", pidFile: "\(scratch.path)/run/p", auditRoot: "/a")
    let nested = "\(scratch.path)/run/\(Instance.id(settings))/0000000000000001/nested"
    try Instance(claiming: settings).resign()
    for path in [Instance.id(settings), "\(Instance.id(settings))/0000000000000001"] {
      #expect(mkdir("\(scratch.path)/run/\(path)", 0o700) == 0)
    }
    #expect(mkdir(nested, 0o700) == 0)
    _ = try await reconcile(listing: [])
    #expect(events["runner.lifecycle_failure"].first?["stage"] == "reconciliation")
    #expect(events["agentd.startup_reconciliation_completed"].count == 1)
  }

  @Test("a container that cannot be removed is told and does not stop the start") @Loop
  func stuckContainer() async throws {
    defer { scratch.remove() }
    _ = try await reconcile(
      listing: ["agentd-ID-worker-0000000000000001\texited"], "fail 125 'it is stuck'")
    #expect(
      events["runner.lifecycle_failure"].first?["reason"]?.hasSuffix(
        "was not removed: podman rm: it is stuck.")
        == true)
    #expect(events["agentd.startup_reconciliation_completed"].first?["removed_containers"] == "0")
  }

  @Test("a podman that does not list its containers stops the start") @Loop
  func noListing() async throws {
    defer { scratch.remove() }
    let failure = await #expect(throws: StartFailure.self) {
      let podman = try await StubPodman(in: scratch.path, "fail 125 'store is broken'")
      let settings = DaemonSettings(
        socketPath: "\(scratch.path)/run/s", pidFile: "\(scratch.path)/run/p", auditRoot: "/a")
      let instance = try Instance(claiming: settings)
      defer { instance.resign() }
      let worker = try sharedWorker()
      let containers = Containers(
        podman: Podman(executable: podman.executable), environment: ["PATH=/usr/bin:/bin"], worker: worker)
      let log = Logger(label: "agentd", factory: { [events] _ in EventRecorder(events) })
      try await Reconciliation(containers: containers, worker: worker, instance: instance, log: log).run()
    }
    #expect(
      failure?.description == "Podman does not tell which containers there are (podman ps: store is broken): "
        + "see that `podman ps` works.")
  }
}
