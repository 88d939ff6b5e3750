// Running podman: how many at a time, for how long, with which environment, and what its failures turn into.

import Glibc
import Reactor
import TestSupport
import Testing

@testable import Engine

@Suite("Containers")
struct ContainersTests {
  init() { LoopThread.start() }

  private func launch(of profile: String = "worker") throws -> ContainerLaunch {
    ContainerLaunch(
      name: try Fixture.name(17, profile: profile), image: "c0ffee", conmonPidFile: "/c", pidFile: "/p",
      consoleLog: "/l", mounts: [],
      script: "exit 0", arguments: [])
  }

  private func name(_ number: Int) throws -> ContainerName {
    try #require(
      ContainerName(daemon: "0123abcd", profile: "worker", session: "00000000000000\(10 + number)"))
  }

  @Test("podman gets the environment that was given, and nothing else of this process") @Loop
  func environment() async throws {
    let fixture = try Fixture("env")
    defer { fixture.scratch.remove() }
    // Variables that every shell sets by itself.
    let own = ["PWD=", "OLDPWD=", "_=", "SHLVL="]
    let lines = try await fixture.containers.answer(["anything"], about: "").split(separator: "\n")
    let given = lines.filter { line in !own.contains { line.hasPrefix($0) } }.sorted()
    #expect(given == ["MARK=here", "PATH=/usr/bin:/bin"])
  }

  @Test("a podman that hangs is killed at its deadline, with what it started") @Loop
  func hangs() async throws {
    let fixture = try Fixture("sleep 1000 & echo $! >\"$here/pid\"; wait")
    defer { fixture.scratch.remove() }
    let path = "\(fixture.scratch.path)/pid"
    var deadline: Duration = .seconds(1)
    repeat {
      let start = Loop.now
      let result = try await fixture.containers.unshare(["true"], deadline: deadline)
      #expect(Loop.now - start >= deadline)
      try #require(result.timedOut)
      #expect(!result.succeeded)
      #expect(
        Containers.failure(of: ["rm", "--force"], result).description
          == "podman rm took too long and was killed")
      // It may have been killed before it came so far.
      deadline *= 2
    } while (try? contents(of: path))?.hasSuffix("\n") != true && deadline < .seconds(120)
    let pid = try #require(Int32(try contents(of: path).dropLast()))
    if let left = try? Process(pid: pid, needsStatus: false) {
      await left.wait()
      left.close()
    }
  }

  @Test("no more run at a time than may, and everybody's turn comes") @Loop
  func gate() async throws {
    let fixture = try Fixture(
      """
      echo start >>"$here/running"
      read -r line <"$here/go"
      echo end >>"$here/running"
      echo 'exited 7 false "2026-11-23T04:05:06Z"'
      """, processLimit: 3)
    defer { fixture.scratch.remove() }
    let running = "\(fixture.scratch.path)/running"
    try write("", to: running)
    let go = try makeFIFO("\(fixture.scratch.path)/go")
    let questions = try (0..<12).map { number in
      let name = try Fixture.name(number)
      return Task { @Loop in try await fixture.containers.exit(of: name) }
    }
    try await fixture.podman.wait(for: 3, linesIn: "running")
    #expect(write(go.raw, String(repeating: "\n", count: 12), 12) == 12)
    for question in questions { #expect(try await question.value?.code == 7) }
    var now = 0
    var most = 0
    for line in try contents(of: running).split(separator: "\n") {
      now += line == "start" ? 1 : -1
      most = max(most, now)
    }
    #expect(most == 3)
    #expect(now == 0)
  }

  @Test("a podman that cannot be started is an error in a sentence") @Loop
  func missing() async throws {
    let fixture = try Fixture("")
    fixture.scratch.remove()
    let sentence = await Fixture.failure { try await fixture.containers.remove(Fixture.name(1)) }
    #expect(sentence?.hasPrefix("podman could not be started (start ") == true)
  }

  @Test("the probe learns where podman's store is") @Loop
  func probe() async throws {
    let fixture = try Fixture("printf 'overlay\\n/var/lib/containers\\n'")
    defer { fixture.scratch.remove() }
    try await fixture.containers.probe()
    #expect(
      try fixture.podman.calls() == ["info --format {{.Store.GraphDriverName}}~{{.Store.GraphRoot}}"])
  }

  @Test(
    "a probe that fails tells why in podman's words, or what was not understood",
    arguments: [
      ("fail 125 'overlay is not supported'", "podman info: overlay is not supported"),
      ("exit 3", "podman info ended with exit code 3"),
      ("kill -TERM $$", "podman info ended with signal 15"),
      ("echo surprise", "podman info printed something that is not understood: surprise\n"),
    ])
  @Loop func probeFails(_ body: String, _ sentence: String) async throws {
    let fixture = try Fixture(body)
    defer { fixture.scratch.remove() }
    #expect(await Fixture.failure { try await fixture.containers.probe() } == sentence)
  }

  @Test("a launch returns when podman has started the container") @Loop
  func launches() async throws {
    let fixture = try Fixture("echo $digits")
    defer { fixture.scratch.remove() }
    let launch = try launch()
    try await fixture.containers.launch(launch)
    #expect(try fixture.podman.calls(of: "run").count == 1)
  }

  @Test(
    "a launch that fails is told apart by podman's exit code and words",
    arguments: [
      ("fail 127 'crun: executable file `/bin/sh` not found'", LaunchFailure.noShell),
      ("fail 126 'crun: open executable: /bin/sh: permission denied'", .noShell),
      ("fail 126 'crun: sysctl is not namespaced'", .other("crun: sysctl is not namespaced")),
      ("fail 125 'c0ffee: image not known'", .imageMissing),
      ("fail 125 'the container name \"x\" is already in use by y: that name is already in use'", .nameInUse),
      ("fail 125 'no space left on device'", .other("no space left on device")),
      ("exit 1", .other("podman run ended with exit code 1")),
      ("kill -KILL $$", .other("podman run ended with signal 9")),
    ])
  @Loop func launchFails(_ body: String, _ expected: LaunchFailure) async throws {
    let fixture = try Fixture(body)
    defer { fixture.scratch.remove() }
    let launch = try launch()
    await #expect(throws: expected) { try await fixture.containers.launch(launch) }
  }

  @Test("only this daemon's containers are listed, with how they stand") @Loop
  func list() async throws {
    let fixture = try Fixture(
      """
      printf 'agentd-0123abcd-worker-0000000000000011\\trunning\\n'
      printf 'agentd-0123abcd-worker-0000000000000012\\texited\\n'
      printf 'agentd-0123abcd-worker-0000000000000013\\tlevitating\\n'
      printf 'agentd-0123abce-worker-0000000000000014\\texited\\n'
      printf 'database\\texited\\n'
      """)
    defer { fixture.scratch.remove() }
    let listed = try await fixture.containers.list(daemon: "0123abcd")
    #expect(listed.map(\.name) == [try name(1), try name(2), try name(3)])
    #expect(listed.map(\.state) == [.live, .dead, .unknown("levitating")])
  }

  @Test("how a container ended is podman's answer, and nothing when podman knows none of that name") @Loop
  func exit() async throws {
    let fixture = try Fixture(
      """
      case "$*" in
      *0011) echo 'exited 137 true "2026-11-23T04:05:06Z"' ;;
      *) fail 125 'no such container' ;;
      esac
      """)
    defer { fixture.scratch.remove() }
    let ended = try await fixture.containers.exit(of: name(1))
    #expect(ended?.code == 137)
    #expect(ended?.ranOutOfMemory == true)
    #expect(try await fixture.containers.exit(of: name(2)) == nil)
  }

  @Test("a question that podman was killed over is asked again, and no more than three times") @Loop
  func repeated() async throws {
    let fixture = try Fixture(
      """
      echo >>"$here/tries"
      [ "$(wc -l <"$here/tries")" -gt 2 ] || kill -KILL $$
      [ "$verb" = inspect ] || kill -KILL $$
      echo 'exited 7 false "2026-11-23T04:05:06Z"'
      """)
    defer { fixture.scratch.remove() }
    #expect(try await fixture.containers.exit(of: name(1))?.code == 7)
    #expect(try fixture.podman.calls().count == 3)
    let sentence = await Fixture.failure { _ = try await fixture.containers.list(daemon: "0123abcd") }
    #expect(sentence == "podman ps ended with signal 9")
    #expect(try fixture.podman.calls(of: "ps").count == 3)
  }

  @Test("a question that hangs is asked once and is an error, not an answer") @Loop
  func hangingQuestion() async throws {
    try await Fixture.hanging(calls: 1) { fixture, _ in
      let sentence = await Fixture.failure { _ = try await fixture.containers.exit(of: name(1)) }
      #expect(sentence == "podman inspect took too long and was killed")
    }
  }

  @Test("podman's failure to tell how a container ended is an error, not a container that is not there") @Loop
  func failingExit() async throws {
    let fixture = try Fixture("fail 125 'database is locked'")
    defer { fixture.scratch.remove() }
    let sentence = await Fixture.failure { _ = try await fixture.containers.exit(of: name(1)) }
    #expect(sentence == "podman inspect: database is locked")
  }

  @Test("a launch that hangs is killed at its deadline and not repeated") @Loop
  func hangingLaunch() async throws {
    try await Fixture.hanging(calls: 1) { fixture, deadline in
      let launch = try launch()
      let sentence = await Fixture.failure { try await fixture.containers.launch(launch) }
      let seconds = deadline.components.seconds
      #expect(
        sentence == "podman could not start the container: it took longer than \(seconds) s and was killed")
    }
  }

  @Test("launches that hang keep no question waiting for longer than the patience") @Loop
  func hangingLaunches() async throws {
    var deadlines = Fixture.patient
    deadlines.patience = .milliseconds(100)
    let fixture = try Fixture(
      """
      [ $verb = inspect ] || { read -r line <"$here/go"; fail 125 'let go'; }
      echo 'exited 7 false "2026-11-23T04:05:06Z"'
      """, deadlines: deadlines)
    defer { fixture.scratch.remove() }
    let go = try makeFIFO("\(fixture.scratch.path)/go")
    let launches = try (0..<4).map { _ in
      let launch = try launch()
      return Task { @Loop in await Fixture.failure { try await fixture.containers.launch(launch) } }
    }
    try await fixture.podman.wait(for: 4)
    #expect(try await fixture.containers.exit(of: name(1))?.code == 7)
    #expect(try fixture.podman.calls(of: "run").count == 4)
    #expect(write(go.raw, "\n\n\n\n", 4) == 4)
    for launch in launches {
      #expect(await launch.value == "podman could not start the container: let go")
    }
  }

  @Test(
    "launches of a profile that hang keep another profile's from starting for no longer than the patience")
  @Loop
  func profilesApart() async throws {
    var deadlines = Containers.Deadlines()
    deadlines.patience = .milliseconds(100)
    let fixture = try Fixture(
      """
      case "$*" in
      *-stuck-*) read -r line <"$here/go"; fail 125 'let go' ;;
      esac
      """, processLimit: 2, deadlines: deadlines)
    defer { fixture.scratch.remove() }
    let go = try makeFIFO("\(fixture.scratch.path)/go")
    let stuck = try (0..<6).map { _ in
      let launch = try launch(of: "stuck")
      return Task { @Loop in await Fixture.failure { try await fixture.containers.launch(launch) } }
    }
    try await fixture.podman.wait(for: 2)
    for _ in 0..<5 { try await fixture.containers.launch(try launch(of: "works")) }
    // However long: no more of them than may run at all.
    #expect(try fixture.podman.calls().count { $0.contains("-stuck-") } == 2)
    #expect(write(go.raw, String(repeating: "\n", count: 6), 6) == 6)
    for launch in stuck { #expect(await launch.value == "podman could not start the container: let go") }
  }

  @Test("a launch that is taken back leaves the line at once, and podman is never asked") @Loop
  func withdrawn() async throws {
    let fixture = try Fixture("read -r line <\"$here/go\"", processLimit: 1)
    defer { fixture.scratch.remove() }
    let go = try makeFIFO("\(fixture.scratch.path)/go")
    let running = try launch()
    let first = Task { @Loop in await Fixture.failure { try await fixture.containers.launch(running) } }
    try await fixture.podman.wait(for: 1)
    let withdrawal = Withdrawal()
    let waiting = try launch(of: "other")
    let second = Task { @Loop in
      do throws(LaunchFailure) {
        try await fixture.containers.launch(waiting, unless: withdrawal)
        return LaunchFailure?.none
      } catch {
        return error
      }
    }
    await Loop.spawn {}.value
    withdrawal.request()
    #expect(await second.value == .withdrawn)
    // One that was taken back before is not asked for either.
    await #expect(throws: LaunchFailure.withdrawn) {
      try await fixture.containers.launch(waiting, unless: withdrawal)
    }
    #expect(write(go.raw, "\n", 1) == 1)
    #expect(await first.value == nil)
    #expect(try fixture.podman.calls().count == 1)
  }

  @Test(
    "a launch that is taken back while podman works comes to its end, and is killed where podman hangs",
    arguments: [("work", Duration.seconds(3600), nil), ("hang", .milliseconds(500), LaunchFailure.killed)])
  @Loop func withdrawnLate(_ word: String, _ grace: Duration, _ failure: LaunchFailure?) async throws {
    var deadlines = Fixture.patient
    deadlines.withdrawnLaunch = grace
    let fixture = try Fixture(
      """
      read -r line <"$here/go"
      [ "$line" != hang ] || exec sleep 1000
      """, deadlines: deadlines)
    defer { fixture.scratch.remove() }
    let go = try makeFIFO("\(fixture.scratch.path)/go")
    let withdrawal = Withdrawal()
    let wanted = try launch()
    let launching = Task { @Loop in
      do throws(LaunchFailure) {
        try await fixture.containers.launch(wanted, unless: withdrawal)
        return LaunchFailure?.none
      } catch {
        return error
      }
    }
    try await fixture.podman.wait(for: 1)
    withdrawal.request()
    let line = Array("\(word)\n".utf8)
    #expect(write(go.raw, line, line.count) == line.count)
    #expect(await launching.value == failure)
  }
}
