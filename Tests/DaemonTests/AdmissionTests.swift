// Who may live, who waits and who is refused.

import TestSupport
import Testing

@testable import Daemon

@Suite("Admission")
struct AdmissionTests {
  /// What a request does that comes to a session; whether there was a place for it.
  private func admit(_ session: Int, _ admission: inout Admission<Int>) -> Bool {
    guard let place = admission.reserve() else { return false }
    admission.enter(session, place)
    return true
  }

  // What an expectation is given must not be changed by it, so these change it elsewhere.
  private func withdraw(_ session: Int, _ admission: inout Admission<Int>) -> Bool {
    admission.withdraw(session)
  }

  private func withdrawAll(_ admission: inout Admission<Int>) -> [Int] { admission.withdrawAll() }

  private func reserve(_ admission: inout Admission<Int>) -> Admission<Int>.Place? { admission.reserve() }

  private func starts(_ admission: inout Admission<Int>) -> [Int] {
    var sessions: [Int] = []
    while let session = admission.next() { sessions.append(session) }
    return sessions
  }

  @Test("as many live as may, the next ones wait in their order, and the rest is refused")
  func bounds() {
    var admission = Admission<Int>(limit: 2, queueLimit: 2)
    #expect((0..<5).map { admit($0, &admission) } == [true, true, true, true, false])
    #expect(admission.liveCount == 2)
    #expect(admission.queue == [2, 3])
    #expect(admission.ahead(of: 3) == 1)
    #expect(admission.ahead(of: 0) == nil)
    #expect(starts(&admission) == [])
    admission.vacate(1)
    #expect(starts(&admission) == [2])
    #expect(admit(5, &admission))
    #expect(admission.queue == [3, 5])
    #expect(withdraw(3, &admission))
    #expect(!withdraw(3, &admission))
    admission.end(0)
    #expect(starts(&admission) == [5])
  }

  @Test("all that wait are taken out at once, in their order, and what lives stays")
  func withdrawAll() {
    var admission = Admission<Int>(limit: 1, queueLimit: 3)
    #expect((0..<4).map { admit($0, &admission) } == [true, true, true, true])
    #expect(withdrawAll(&admission) == [1, 2, 3])
    #expect(withdrawAll(&admission) == [])
    #expect(admission.queue == [])
    #expect(admission.liveCount == 1)
    #expect(admit(4, &admission))
    #expect(admission.queue == [4])
  }

  @Test("a request that is being prepared keeps its place, and nobody who came later goes before it")
  func promises() {
    var admission = Admission<Int>(limit: 1, queueLimit: 1)
    #expect(reserve(&admission) == .live)
    #expect(reserve(&admission) == .queue)
    #expect(reserve(&admission) == nil)
    // The first came to nothing: its place is free, and still the second one's.
    admission.release(.live)
    #expect(reserve(&admission) == nil)
    admission.enter(2, .queue)
    #expect(starts(&admission) == [2])
  }

  @Test("a session whose container has gone makes room, but not any number of them")
  func sealing() {
    var admission = Admission<Int>(limit: 2, queueLimit: 10)
    for session in 0..<8 { _ = admit(session, &admission) }
    admission.vacate(0)
    admission.vacate(1)
    #expect(starts(&admission) == [2, 3])
    admission.vacate(2)
    admission.vacate(3)
    #expect(starts(&admission) == [])
    admission.end(0)
    #expect(starts(&admission) == [4])
    admission.end(0)
    for session in 1..<4 { admission.end(session) }
    #expect(starts(&admission) == [5])
  }

  @Test("sessions of an earlier daemon count, however many they are")
  func adopted() {
    var admission = Admission<Int>(limit: 2, queueLimit: 0)
    for session in 0..<4 { admission.adopt(session, .live) }
    for session in 4..<7 { admission.adopt(session, .queue) }
    #expect(reserve(&admission) == nil)
    for session in 0..<2 { admission.end(session) }
    #expect(starts(&admission) == [])
    admission.end(2)
    #expect(starts(&admission) == [4])
    #expect(admission.queue == [5, 6])
  }

  @Test("holds its bounds and its order, whatever comes", arguments: 0..<40)
  func properties(_ seed: UInt64) {
    var random = SplitMix64(seed: seed)
    let (limit, queueLimit) = (Int.random(in: 1...4, using: &random), Int.random(in: 0...6, using: &random))
    var admission = Admission<Int>(limit: limit, queueLimit: queueLimit)
    var preparing: [(session: Int, place: Admission<Int>.Place)] = []
    var (live, sealing, queue): ([Int], [Int], [Int]) = ([], [], [])
    var next = 0
    for _ in 0..<500 {
      switch Int.random(in: 0..<7, using: &random) {
      case 0, 1:
        let isFull = queue.count + preparing.count { $0.place == .queue } == queueLimit
        let place = admission.reserve()
        if place == nil { #expect(isFull) }
        if let place { preparing.append((next, place)) }
        next += 1
      case 2:
        guard let index = preparing.indices.randomElement(using: &random) else { continue }
        let (session, place) = preparing.remove(at: index)
        if Int.random(in: 0..<4, using: &random) == 0 {
          admission.release(place)
        } else {
          admission.enter(session, place)
          if place == .live { live.append(session) } else { queue.append(session) }
        }
      case 3, 4:
        guard let index = live.indices.randomElement(using: &random) else { continue }
        sealing.append(live.remove(at: index))
        admission.vacate(sealing[sealing.count - 1])
      case 5:
        if let index = sealing.indices.randomElement(using: &random) {
          admission.end(sealing.remove(at: index))
        }
      default:
        guard let index = queue.indices.randomElement(using: &random) else { continue }
        #expect(withdraw(queue.remove(at: index), &admission))
      }
      for session in starts(&admission) {
        #expect(session == queue.first, "one has overtaken another")
        queue.removeFirst()
        live.append(session)
      }
      let promised = preparing.count { $0.place == .live }
      #expect(admission.queue == queue)
      #expect(admission.liveCount == live.count)
      #expect(live.count + promised <= limit)
      #expect(queue.count <= queueLimit)
      let hasRoom = live.count + promised < limit && live.count + promised + sealing.count < 2 * limit
      #expect(queue.isEmpty || !hasRoom, "one waits for whom there is room")
    }
  }
}
