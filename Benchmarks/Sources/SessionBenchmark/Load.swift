// Many sessions asked for at once, over few connections, and when each was answered.

import Control
import Glibc
import Reactor

/// One session as its client saw it; moments are nanoseconds of CLOCK_MONOTONIC.
struct Served: Sendable {
  var id = ""
  var asked: UInt64 = 0
  var accepted: UInt64 = 0
  var finished: UInt64 = 0
  var outcome = ""
}

/// A crowd of sessions.
@Loop
final class Load {
  private static let connections = 4

  private(set) var served: [Served]
  private var indices: [String: Int] = [:]
  /// Ends that came before anybody knew the id of the session.
  private var early: [String: (moment: UInt64, outcome: String)] = [:]
  private let allAccepted = Latch()
  private let allFinished = Latch()
  private var acceptedCount = 0
  private var finishedCount = 0
  private(set) var problem: String?

  /// Asks for `count` sessions of the profile `bench`, and does not wait.
  init(_ count: Int, of daemon: BenchDaemon) {
    served = Array(repeating: Served(), count: count)
    let lanes = min(Self.connections, count)
    for lane in 0..<lanes {
      let mine = Array(stride(from: lane, to: count, by: lanes))
      Loop.spawn { await self.ask(mine, at: daemon.socketPath) }
    }
  }

  /// Returns when all were accepted.
  func waitUntilAccepted() async throws {
    await allAccepted.wait()
    if let problem { throw Complaint(problem) }
  }

  /// Returns when all have ended.
  func waitUntilFinished() async throws {
    await allFinished.wait()
    if let problem { throw Complaint(problem) }
    let bad = served.filter { $0.outcome != "success" }
    if let first = bad.first {
      throw Complaint(
        "\(bad.count) of \(served.count) sessions ended badly, one of them \(first.id) with \(first.outcome)")
    }
  }

  private func ask(_ mine: [Int], at path: String) async {
    do {
      let client = try await Client.connect(to: path)
      let reader = Loop.spawn { await self.read(mine, from: client) }
      for index in mine {
        served[index].asked = Loop.now.nanoseconds
        try await client.send(
          .run(
            invocation: InvocationRequest(
              profile: "bench", repository: nil, workUnit: nil, timeoutMilliseconds: nil, detach: false)))
      }
      await reader.value
      client.close()
    } catch {
      fail("\(error)")
    }
  }

  private func read(_ mine: [Int], from client: Client) async {
    // Requests of one client are answered in their order.
    var pending = mine[...]
    var left = mine.count
    do {
      while left > 0 {
        switch try await client.next() {
        case .accepted(let session):
          guard let index = pending.popFirst() else { return fail("an answer too many") }
          accept(index, session.id)
        case .finished(let session):
          finish(session)
          left -= 1
        case .refused(let reason), .busy(let reason): return fail("a session was refused: \(reason)")
        case let other: return fail("an answer that nobody asked for: \(other)")
        }
      }
    } catch {
      fail("\(error)")
    }
  }

  private func accept(_ index: Int, _ id: String) {
    served[index].id = id
    served[index].accepted = Loop.now.nanoseconds
    indices[id] = index
    if let end = early.removeValue(forKey: id) {
      served[index].finished = end.moment
      served[index].outcome = end.outcome
    }
    acceptedCount += 1
    if acceptedCount == served.count { allAccepted.open() }
  }

  private func finish(_ session: FinishedSession) {
    let now = Loop.now.nanoseconds
    let outcome = session.problems.isEmpty ? session.outcome : "\(session.outcome), \(session.problems)"
    if let index = indices[session.id] {
      served[index].finished = now
      served[index].outcome = outcome
    } else {
      early[session.id] = (now, outcome)
    }
    finishedCount += 1
    if finishedCount == served.count { allFinished.open() }
  }

  private func fail(_ sentence: String) {
    problem = problem ?? sentence
    allAccepted.open()
    allFinished.open()
  }
}
