// Which of its ends a session of an earlier daemon is brought to, for everything that may be found of it.

import Testing
import Time

@testable import Sessions

@Suite("What becomes of an earlier daemon's session")
struct DecisionTests {
  private static let time = Timestamp(nanosecondsSinceEpoch: 1_795_000_000_000_000_000)
  private static let atCommand = SetupReport(parsing: Array("clone\ncommand\n".utf8))
  private static let atClone = SetupReport(parsing: Array("clone\n".utf8))
  private static let silent = SetupReport(parsing: [])
  private static let unreleased = SetupReport(parsing: Array("unreleased\n".utf8))

  struct Row: Sendable, CustomTestStringConvertible {
    var step: Facts.Step? = .released
    var ending: Ending?
    var requestedEnd: Facts.RequestedEnd?
    var container: Findings.Container
    var report: SetupReport?
    var unread: Int?
    var wasCut = false
    var wasRestarted = false
    let decision: Decision

    var testDescription: String {
      "\(step?.rawValue ?? "lost"), \(container), \(report?.phase as Any), unread \(unread as Any): \(decision)"
    }
  }

  private static let everyContainer: [Findings.Container] = [
    .absent, .dead(code: 0, at: time), .dead(code: 0, at: nil), .ending, .live,
  ]

  /// What was not released is interrupted, whatever its container does.
  private static let beforeRelease: [Row] = everyContainer.flatMap { container in
    [
      Row(step: .queued, container: container, report: silent, decision: .queued),
      Row(
        step: .queued, requestedEnd: .stop, container: container, report: silent,
        decision: .interrupted(reason: Decision.stopped)),
      Row(
        step: .prepared, container: container, report: silent, unread: 9,
        decision: .interrupted(
          reason: container == .absent ? Decision.notStarted : Ending.unreleased)),
    ]
  }

  private static let released: [Row] = [
    Row(container: .live, report: atCommand, unread: 0, decision: .goesOn),
    Row(container: .live, report: atClone, unread: 2, decision: .goesOn),
    Row(container: .live, report: silent, unread: 2, decision: .goesOn),
    // Nothing is in the FIFO and the setup has not begun: it waits for what will never come.
    Row(
      container: .live, report: silent, unread: 0, decision: .interrupted(reason: Ending.unreleased)),
    // What cannot be told is no reason to kill.
    Row(container: .live, report: silent, unread: nil, decision: .goesOn),
    Row(requestedEnd: .stop, container: .live, report: atCommand, unread: 0, decision: .goesOn),
    Row(container: .ending, report: atCommand, decision: .ends),
    Row(container: .ending, report: unreleased, decision: .interrupted(reason: Ending.unreleased)),
    Row(container: .live, report: unreleased, unread: 0, decision: .interrupted(reason: Ending.unreleased)),
    Row(container: .dead(code: 3, at: time), report: atCommand, decision: .finished(.exited(code: 3))),
    // The setup's own code after it had come to the command: the command's, unless credentials may have been cut off.
    Row(container: .dead(code: 6, at: time), report: atCommand, decision: .finished(.exited(code: 6))),
    Row(
      container: .dead(code: 6, at: time), report: atCommand, wasCut: true,
      decision: .interrupted(reason: Ending.unreleased)),
    Row(
      container: .dead(code: 3, at: time), report: atCommand, wasCut: true,
      decision: .finished(.exited(code: 3))),
    Row(
      container: .dead(code: 6, at: time), report: atClone, wasCut: true,
      decision: .finished(.setupFailed(code: 6, reason: nil))),
    Row(container: .dead(code: 0, at: time), report: atCommand, decision: .finished(.exited(code: 0))),
    Row(
      container: .dead(code: 6, at: time), report: atClone,
      decision: .finished(.setupFailed(code: 6, reason: nil))),
    Row(container: .dead(code: 1, at: time), report: silent, decision: .finished(.noShell("base:1"))),
    Row(
      container: .dead(code: 6, at: time), report: unreleased,
      decision: .interrupted(reason: Ending.unreleased)),
    Row(
      requestedEnd: .stop, container: .dead(code: 6, at: time), report: unreleased,
      decision: .interrupted(reason: Ending.unreleased)),
    Row(
      requestedEnd: .deadline, container: .dead(code: 143, at: time), report: atCommand,
      decision: .finished(.timedOut(code: 143))),
    Row(
      requestedEnd: .stop, container: .dead(code: 143, at: time), report: atClone,
      decision: .finished(.exited(code: 143))),
    // podman's word for an exit that nobody saw.
    Row(
      container: .dead(code: -1, at: time), report: atCommand,
      decision: .interrupted(reason: Decision.unknown)),
    Row(
      container: .dead(code: 0, at: nil), report: atCommand,
      decision: .interrupted(reason: Decision.unknown)),
    Row(
      container: .dead(code: 0, at: nil), report: atCommand, wasRestarted: true,
      decision: .interrupted(reason: Decision.restarted)),
    Row(
      container: .dead(code: 3, at: time), report: atCommand, wasRestarted: true,
      decision: .finished(.exited(code: 3))),
    Row(container: .absent, report: atCommand, decision: .interrupted(reason: Decision.removed)),
    Row(
      container: .absent, report: atCommand, wasRestarted: true,
      decision: .interrupted(reason: Decision.restarted)),
  ]

  private static let ended: [Row] =
    everyContainer.map { container in
      Row(
        step: .ended, ending: .timedOut(code: nil), container: container,
        decision: .finished(.timedOut(code: nil)))
    } + [
      Row(step: .ended, container: .absent, decision: .interrupted(reason: Decision.unknown))
    ]

  private static let withoutFacts: [Row] =
    [
      Row(step: nil, container: .dead(code: 3, at: time), decision: .finished(.exited(code: 3))),
      Row(
        step: nil, container: .dead(code: 6, at: time), report: unreleased,
        decision: .interrupted(reason: Ending.unreleased)),
      Row(
        step: nil, container: .dead(code: 0, at: nil), decision: .interrupted(reason: Decision.lost)),
      Row(step: nil, container: .absent, decision: .interrupted(reason: Decision.lost)),
    ]
    + everyContainer.map { container in
      // Its record tells.
      Row(
        step: nil, ending: .exited(code: 5), container: container, report: silent,
        decision: .finished(.exited(code: 5)))
    } + [
      Row(step: nil, container: .live, report: atCommand, decision: .interrupted(reason: Decision.lost)),
      Row(step: nil, container: .ending, decision: .interrupted(reason: Decision.lost)),
    ]

  @Test(
    "is decided by its facts, its container, its report and its FIFO",
    arguments: [beforeRelease, released, ended, withoutFacts].joined().map { $0 })
  func decision(_ row: Row) {
    let findings = Findings(
      step: row.step, ending: row.ending, requestedEnd: row.requestedEnd, container: row.container,
      report: row.report, unreadEnvelope: row.unread, wasCut: row.wasCut, wasRestarted: row.wasRestarted,
      image: "base:1")
    #expect(Decision(findings) == row.decision)
  }
}
