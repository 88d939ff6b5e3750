// Containers on a stand-in for podman, in a directory that goes with the test.

import Reactor
import TestSupport
import Testing

@testable import Engine

/// What the tests of the running side share.
@Loop
struct Fixture {
  /// The one worker of these tests: a thread each would never end.
  private static var worker: Worker?

  let scratch = Scratch()
  let podman: StubPodman
  let containers: Containers

  /// - Parameters:
  ///   - body: the script of the stand-in, as `StubPodman` takes it.
  ///   - processLimit: how many of it at once.
  ///   - deadlines: how long it may take.
  init(_ body: String, processLimit: Int = 4, deadlines: Containers.Deadlines = patient) throws {
    let worker = try Self.worker ?? Worker()
    Self.worker = worker
    podman = try StubPodman(in: scratch.path, body)
    containers = Containers(
      podman: Podman(executable: podman.executable), environment: ["PATH=/usr/bin:/bin", "MARK=here"],
      worker: worker, processLimit: processLimit, deadlines: deadlines)
  }

  /// Deadlines for a stand-in that hangs.
  private static func deadlines(of time: Duration) -> Containers.Deadlines {
    var deadlines = Containers.Deadlines()
    deadlines.launch = time
    deadlines.question = time
    deadlines.removal = time
    deadlines.withdrawnLaunch = time
    return deadlines
  }

  /// Does something with a podman that hangs until it is killed, and expects that it was called so many times, each for as
  /// long as its deadline. A call that a busy machine kills before the stand-in has noted it down shows nothing: then all
  /// of it is done again, with more time.
  @Loop static func hanging(
    calls: Int, _ body: @Loop (Fixture, _ deadline: Duration) async throws -> Void
  ) async throws {
    var deadline: Duration = .seconds(1)
    while true {
      let fixture = try Fixture("exec sleep 1000", deadlines: deadlines(of: deadline))
      defer { fixture.scratch.remove() }
      let start = Loop.now
      try await body(fixture, deadline)
      #expect(Loop.now - start >= deadline * calls)
      let seen = try fixture.podman.calls().count
      // On no machine is it the time any more.
      if seen >= calls || deadline > .seconds(60) { return #expect(seen == calls) }
      deadline *= 2
    }
  }

  /// Deadlines that no test meets, however busy the machine is.
  static var patient: Containers.Deadlines {
    var deadlines = Containers.Deadlines()
    deadlines.launch = .seconds(3600)
    deadlines.question = .seconds(3600)
    deadlines.removal = .seconds(3600)
    deadlines.patience = .seconds(3600)
    deadlines.withdrawnLaunch = .seconds(3600)
    return deadlines
  }

  /// A name of this daemon's, told apart by its number.
  nonisolated static func name(_ number: Int, profile: String = "worker") throws -> ContainerName {
    let digits = String(number, radix: 16)
    let session = String(repeating: "0", count: 16 - digits.count) + digits
    guard let name = ContainerName(daemon: "0123abcd", profile: profile, session: session) else {
      throw CallFailed("a container's name", 0)
    }
    return name
  }

  /// The sentence of the error that the body throws; nil when it throws none.
  static func failure(_ body: @Loop () async throws -> Void) async -> String? {
    do {
      try await body()
      return nil
    } catch {
      return "\(error)"
    }
  }
}

extension Containers {
  /// Starts a container that is described before its turn has come.
  func launch(_ launch: ContainerLaunch, unless withdrawal: Withdrawal? = nil) async throws(LaunchFailure) {
    try await self.launch(launch.name, unless: withdrawal) { launch }
  }
}
