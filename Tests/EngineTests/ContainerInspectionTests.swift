// What podman tells of an earlier daemon's containers, and which process is starting one.

import Glibc
import Reactor
import TestSupport
import Testing

@testable import Engine

@Suite("Inspection")
struct ContainerInspectionTests {
  init() { LoopThread.start() }

  private func name(_ number: Int) throws -> ContainerName {
    try #require(
      ContainerName(daemon: "0123abcd", profile: "worker", session: "00000000000000\(10 + number)"))
  }

  @Test("a line is read whole, and what is not about a container of ours is left out")
  func parsing() throws {
    let output = """
      \(try name(1)) c0ffee 77 76 running 0 false "0001-01-01T00:00:00Z"
      \(try name(2)) facade 0 0 exited 137 true "2026-11-23T04:42:04.549993608Z"
      database c0ffee 77 76 running 0 false "0001-01-01T00:00:00Z"
      \(try name(3)) c0ffee x 76 running 0 false "0001-01-01T00:00:00Z"
      \(try name(3)) c0ffee 77 76 running

      """
    let found = ContainerInspection.parse(output)
    #expect(found.map(\.name) == [try name(1), try name(2)])
    #expect(found.map(\.id) == ["c0ffee", "facade"])
    #expect(found.map(\.pid) == [77, nil])
    #expect(found.map(\.conmonPid) == [76, nil])
    #expect(found.map(\.exit.state) == [.live, .dead])
    #expect(found[1].exit.finished == "2026-11-23T04:42:04.549993608Z")
  }

  @Test("a process is starting a container when it was started with the words of a launch")
  func launchedName() throws {
    let launch = ContainerLaunch(
      name: try name(1), image: "c0ffee", conmonPidFile: "/c", pidFile: "/p", consoleLog: "/l", mounts: [],
      script: "exit 0", arguments: [])
    let words = Podman().run(launch)
    #expect(Podman.launchedName(by: ["podman"] + words) == (try name(1)))
    #expect(Podman.launchedName(by: ["/bin/sh", "/opt/podman"] + words) == (try name(1)))
    // conmon, an operator who looks, and a removal.
    for other in [
      ["conmon", "-n", "\(try name(1))", "--exit-command-arg", "run"],
      ["podman", "logs", "--follow", "\(try name(1))"], ["podman"] + Podman().remove([try name(1)]),
      ["podman", "run", "--name"], ["podman", "run", "--name", "database"], [],
    ] {
      #expect(Podman.launchedName(by: other) == nil)
    }
  }

  @Test("a container that goes away between the list and the question is left out, the others are told") @Loop
  func goneMeanwhile() async throws {
    let fixture = try Fixture(
      """
      case $verb in
      ps) printf '%s\\texited\\n' \(try name(1)) \(try name(2)) ;;
      inspect)
        echo '\(try name(1)) c0ffee 0 0 exited 3 false "2026-11-23T04:42:04Z"'
        fail 125 'inspecting object: no such container \(try name(2))' ;;
      esac
      """)
    defer { fixture.scratch.remove() }
    let found = try await fixture.containers.inspect(daemon: "0123abcd")
    #expect(found.map(\.name) == [try name(1)])
    #expect(try fixture.podman.calls(of: "inspect").count == 1)
  }

  @Test("a podman that fails for any other reason does not make containers disappear") @Loop
  func failure() async throws {
    let fixture = try Fixture(
      """
      case $verb in
      ps) printf '%s\\texited\\n' \(try name(1)) ;;
      inspect) fail 125 'database is locked' ;;
      esac
      """)
    defer { fixture.scratch.remove() }
    let sentence = await Fixture.failure { _ = try await fixture.containers.inspect(daemon: "0123abcd") }
    #expect(sentence?.contains("database is locked") == true)
  }

  @Test("no containers are no question") @Loop
  func none() async throws {
    let fixture = try Fixture("")
    defer { fixture.scratch.remove() }
    #expect(try await fixture.containers.inspect(daemon: "0123abcd").isEmpty)
    #expect(try fixture.podman.calls(of: "inspect").isEmpty)
  }
}
