// Removals: those that come due together share one podman, and one that fails fails alone.

import Glibc
import Reactor
import TestSupport
import Testing

@testable import Engine

@Suite("Removals")
struct RemovalsTests {
  init() { LoopThread.start() }

  /// The sessions in a `podman rm`, by their numbers.
  private func numbers(_ call: String) -> [Int] {
    call.split(separator: " ").compactMap { ContainerName($0).flatMap { Int($0.session, radix: 16) } }
  }

  @Loop private func remove(_ numbers: some Sequence<Int>, on fixture: Fixture) throws -> [Task<
    String?, Never
  >] {
    try numbers.map { number in
      let name = try Fixture.name(number)
      return Task { @Loop in await Fixture.failure { try await fixture.containers.remove(name) } }
    }
  }

  /// A removal whose podman runs, and others that have asked meanwhile.
  @Loop private func crowd(
    of count: Int, on fixture: Fixture
  ) async throws -> (first: [Task<String?, Never>], others: [Task<String?, Never>]) {
    let first = try remove([0], on: fixture)
    try await fixture.podman.wait(for: 1)
    let others = try remove(1..<count, on: fixture)
    // They have asked before the first is let go: this task's turn comes after theirs.
    await Loop.spawn {}.value
    return (first, others)
  }

  @Test("what comes while one removal runs shares the next process") @Loop
  func batches() async throws {
    let fixture = try Fixture("read -r line <\"$here/go\"")
    defer { fixture.scratch.remove() }
    let go = try makeFIFO("\(fixture.scratch.path)/go")
    let (first, others) = try await crowd(of: 20, on: fixture)
    #expect(write(go.raw, "\n\n", 2) == 2)
    for removal in first + others { #expect(await removal.value == nil) }
    let calls = try fixture.podman.calls()
    #expect(calls.map(numbers) == [[0], Array(1..<20)])
    #expect(
      calls.allSatisfy { $0.hasPrefix("rm --force --ignore --volumes --time 0 agentd-0123abcd-worker-") })
  }

  @Test("the last of a burst is removed as soon as the first has been: no timer is waited for") @Loop
  func burst() async throws {
    let fixture = try Fixture("read -r line <\"$here/go\"")
    defer { fixture.scratch.remove() }
    let go = try makeFIFO("\(fixture.scratch.path)/go")
    let (first, others) = try await crowd(of: 4, on: fixture)
    #expect(write(go.raw, "\n", 1) == 1)
    for removal in first { #expect(await removal.value == nil) }
    // The others' podman runs before the loop has waited for anything: only what was ready to be done had its turn.
    for _ in 0..<20 { await Loop.spawn {}.value }
    #expect(fixture.containers.processes == 1)
    #expect(write(go.raw, "\n", 1) == 1)
    for removal in others { #expect(await removal.value == nil) }
    #expect(try fixture.podman.calls().map(numbers) == [[0], [1, 2, 3]])
  }

  @Test("a removal that hangs holds up those that come after it for no longer than the patience") @Loop
  func hangingAlone() async throws {
    var deadlines = Containers.Deadlines()
    deadlines.patience = .milliseconds(100)
    let fixture = try Fixture(
      """
      case "$*" in
      *-0000000000000000*) read -r line <"$here/go" ;;
      esac
      """, processLimit: 2, deadlines: deadlines)
    defer { fixture.scratch.remove() }
    let go = try makeFIFO("\(fixture.scratch.path)/go")
    let stuck = try remove([0], on: fixture)
    try await fixture.podman.wait(for: 1)
    for removal in try remove(1..<4, on: fixture) { #expect(await removal.value == nil) }
    #expect(fixture.containers.processes == 1)
    #expect(write(go.raw, "\n", 1) == 1)
    for removal in stuck { #expect(await removal.value == nil) }
  }

  @Test("one command never names more than 64") @Loop
  func batchLimit() async throws {
    let fixture = try Fixture("")
    defer { fixture.scratch.remove() }
    for removal in try remove(0..<150, on: fixture) { #expect(await removal.value == nil) }
    let calls = try fixture.podman.calls().map(numbers)
    #expect(calls.allSatisfy { $0.count <= 64 })
    #expect(calls.flatMap(\.self).sorted() == Array(0..<150))
  }

  @Test("a batch that fails is tried one by one, and only what cannot be removed is an error") @Loop
  func oneByOne() async throws {
    let fixture = try Fixture(
      """
      case "$*" in
      *0000005*) fail 125 'container 5 has dependent containers' ;;
      esac
      """)
    defer { fixture.scratch.remove() }
    let removals = try remove(0..<8, on: fixture)
    for (number, removal) in removals.enumerated() {
      let sentence = number == 5 ? "podman rm: container 5 has dependent containers" : nil
      #expect(await removal.value == sentence)
    }
    let calls = try fixture.podman.calls().map(numbers)
    // With the others, and then three times by itself.
    #expect(calls.filter { $0 == [5] }.count == 3)
    #expect(calls.filter { $0.contains(5) && $0.count > 1 }.count == 1)
  }

  @Test("a failure that passes is no error") @Loop
  func passingFailure() async throws {
    let fixture = try Fixture(
      "[ -e \"$here/tried\" ] || { : >\"$here/tried\"; fail 125 'database is locked'; }")
    defer { fixture.scratch.remove() }
    for removal in try remove([1], on: fixture) { #expect(await removal.value == nil) }
    #expect(try fixture.podman.calls().count == 2)
  }

  @Test("a removal that hangs is tried once more, by itself") @Loop
  func hanging() async throws {
    try await Fixture.hanging(calls: 2) { fixture, _ in
      for removal in try remove([1], on: fixture) {
        #expect(await removal.value == "podman rm took too long and was killed")
      }
    }
  }
}
