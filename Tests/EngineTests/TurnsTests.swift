// Whose turn it is at the gate: in lanes, in turns, and past those that hang.

import TestSupport
import Testing

@testable import Engine

@Suite("Turns")
struct TurnsTests {
  private typealias Ticket = Turns<String>.Ticket

  /// Lets go whoever may.
  private func advance(_ turns: inout Turns<String>) -> [Ticket] {
    var started: [Ticket] = []
    while let ticket = turns.next() { started.append(ticket) }
    return started
  }

  @Test("no more go than there are permits, and in a lane who came first goes first")
  func firstComeFirstServed() {
    var turns = Turns<String>(permits: 2, slowLimit: 2)
    let tickets = (0..<5).map { _ in turns.arrive(in: "a") }
    #expect(advance(&turns) == [tickets[0], tickets[1]])
    turns.leave(tickets[1])
    #expect(advance(&turns) == [tickets[2]])
    turns.leave(tickets[0])
    turns.leave(tickets[2])
    #expect(advance(&turns) == [tickets[3], tickets[4]])
    #expect(turns.waiting == 0)
  }

  @Test("lanes take turns, however many wait in one of them")
  func roundRobin() {
    var turns = Turns<String>(permits: 1, slowLimit: 1)
    let crowd = (0..<100).map { _ in turns.arrive(in: "crowd") }
    let other = turns.arrive(in: "other")
    let third = turns.arrive(in: "third")
    #expect(advance(&turns) == [crowd[0]])
    turns.leave(crowd[0])
    #expect(advance(&turns) == [other])
    turns.leave(other)
    #expect(advance(&turns) == [third])
    turns.leave(third)
    #expect(advance(&turns) == [crowd[1]])
  }

  @Test("a lane that hangs keeps another waiting once, and then starts no more itself")
  func hanging() {
    var turns = Turns<String>(permits: 2, slowLimit: 8)
    let hanging = (0..<5).map { _ in turns.arrive(in: "hangs") }
    #expect(advance(&turns) == [hanging[0], hanging[1]])
    let first = turns.arrive(in: "works")
    #expect(advance(&turns) == [])
    for ticket in hanging.prefix(2) { turns.overstay(ticket) }
    #expect(advance(&turns) == [first])
    #expect(turns.slow == 2)
    // Both of its places are taken by slow ones: the permit that is left is for others.
    let second = turns.arrive(in: "works")
    #expect(advance(&turns) == [second])
    turns.leave(first)
    turns.leave(second)
    #expect(advance(&turns) == [])
    turns.leave(hanging[0])
    #expect(advance(&turns) == [hanging[2]])
  }

  @Test("permits are lent only as far as slow ones are bounded, and on when one of them goes")
  func boundedSlowness() {
    var turns = Turns<String>(permits: 1, slowLimit: 2)
    var hanging: [Ticket] = []
    for lane in ["a", "b", "c"] {
      hanging.append(turns.arrive(in: lane))
      #expect(advance(&turns) == [hanging.last])
      turns.overstay(hanging[hanging.count - 1])
    }
    let waiting = turns.arrive(in: "d")
    #expect(advance(&turns) == [])
    #expect(turns.going == 1)
    #expect(turns.slow == 2)
    turns.leave(hanging[0])
    #expect(turns.going == 0)
    #expect(turns.slow == 2)
    #expect(advance(&turns) == [waiting])
  }

  @Test("who does not wait any more keeps nobody behind it waiting")
  func withdrawn() {
    var turns = Turns<String>(permits: 1, slowLimit: 0)
    let tickets = (0..<3).map { _ in turns.arrive(in: "a") }
    let alone = turns.arrive(in: "b")
    #expect(advance(&turns) == [tickets[0]])
    turns.leave(tickets[1])
    turns.leave(alone)
    turns.leave(alone)
    #expect(turns.waiting == 1)
    turns.leave(tickets[0])
    #expect(advance(&turns) == [tickets[2]])
  }

  /// What a gate is, told in another way: by looking at everybody each time.
  private struct World {
    enum Standing { case waiting, going, slow }

    let permits: Int
    let slowLimit: Int
    var turns: Turns<Int>
    var people: [(ticket: Turns<Int>.Ticket, lane: Int, standing: Standing)] = []
    /// For each lane that waits and may start: how often each other lane has started since.
    var overtakings: [Int: [Int: Int]] = [:]
    var started = 0

    init(permits: Int, slowLimit: Int) {
      self.permits = permits
      self.slowLimit = slowLimit
      turns = Turns(permits: permits, slowLimit: slowLimit)
    }

    func count(_ standing: Standing) -> Int { people.count { $0.standing == standing } }
    func inside(_ lane: Int) -> Int { people.count { $0.lane == lane && $0.standing != .waiting } }
    func mayStart(_ lane: Int) -> Bool {
      people.contains { $0.lane == lane && $0.standing == .waiting } && inside(lane) < permits
    }

    mutating func arrive(_ lane: Int) { people.append((turns.arrive(in: lane), lane, .waiting)) }

    mutating func leave(_ index: Int) { turns.leave(people.remove(at: index).ticket) }

    mutating func overstay(_ index: Int) { turns.overstay(people[index].ticket) }

    mutating func advance() {
      while let ticket = turns.next() {
        guard let index = people.firstIndex(where: { $0.ticket == ticket }) else {
          Issue.record("somebody goes who has left")
          return
        }
        let lane = people[index].lane
        #expect(people[index].standing == .waiting)
        #expect(
          index == people.firstIndex { $0.lane == lane && $0.standing == .waiting }, "overtaken in its lane")
        people[index].standing = .going
        started += 1
        overtakings[lane] = nil
        for other in overtakings.keys where mayStart(other) {
          overtakings[other]?[lane, default: 0] += 1
          #expect(overtakings[other]?[lane] == 1, "lane \(lane) went twice while lane \(other) waited")
        }
      }
      // A lane that could not have started has not been overtaken.
      let waiting = Set(people.map(\.lane)).filter { mayStart($0) }
      overtakings = overtakings.filter { waiting.contains($0.key) }
      for lane in waiting where overtakings[lane] == nil { overtakings[lane] = [:] }
      // The model does not say who is slow: of those that go, as many as the turns say.
      #expect(turns.going <= permits)
      #expect(turns.slow <= slowLimit)
      #expect(turns.going + turns.slow == count(.going))
      #expect(turns.waiting == count(.waiting))
      for lane in Set(people.map(\.lane)) { #expect(inside(lane) <= permits) }
      #expect(waiting.isEmpty || turns.going == permits, "a permit lies idle while somebody may go")
    }
  }

  @Test("hold their bounds, are fair and lose nobody, whatever comes", arguments: 0..<60)
  func properties(_ seed: UInt64) {
    var random = SplitMix64(seed: seed)
    var world = World(
      permits: .random(in: 1...5, using: &random), slowLimit: .random(in: 0...8, using: &random))
    let lanes = Int.random(in: 1...6, using: &random)
    var arrived = 0
    var withdrawn = 0
    for _ in 0..<600 {
      let index = world.people.indices.randomElement(using: &random)
      switch Int.random(in: 0..<10, using: &random) {
      case 0..<5:
        arrived += 1
        // The first lane is the busiest.
        world.arrive(Bool.random(using: &random) ? 0 : .random(in: 0..<lanes, using: &random))
      case 5..<8:
        guard let index else { continue }
        if world.people[index].standing == .waiting { withdrawn += 1 }
        world.leave(index)
      default: index.map { world.overstay($0) }
      }
      world.advance()
    }
    while let index = world.people.firstIndex(where: { $0.standing == .going }) {
      world.leave(index)
      world.advance()
    }
    #expect(world.people.isEmpty, "somebody was forgotten")
    #expect(world.started + withdrawn == arrived)
    #expect(world.turns.going == 0)
    #expect(world.turns.slow == 0)
  }
}
