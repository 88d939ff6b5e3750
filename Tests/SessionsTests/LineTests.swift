// The line in which sessions wait for their turn: its order, its limit, and who leaves it early.

import Reactor
import TestSupport
import Testing

@testable import Sessions

@Suite("The line")
struct LineTests {
  init() { LoopThread.start() }

  private func session(_ number: UInt64) throws -> SessionID {
    let digits = String(number, radix: 16)
    return try #require(SessionID(String(repeating: "0", count: 16 - digits.count) + digits))
  }

  @Test("lets in as many as it has places, and then who came first for each that leaves") @Loop
  func order() throws {
    let line = Line(limit: 3)
    var turns: [UInt64] = []
    for number: UInt64 in 1...9 {
      line.enter(try session(number)) { isMine in
        #expect(isMine)
        turns.append(number)
      }
    }
    #expect(turns == [1, 2, 3])
    for last: UInt64 in 4...9 {
      line.leave()
      #expect(turns == Array(1...last))
    }
    for _ in 0..<3 { line.leave() }
    // All places are free again, and no more than that.
    for number: UInt64 in 10...13 { line.enter(try session(number)) { _ in turns.append(number) } }
    #expect(turns == Array(1...12))
  }

  @Test("who can go on at once has a place if one is free, and goes before nobody") @Loop
  func atOnce() throws {
    let line = Line(limit: 2)
    #expect(line.enterAtOnce())
    var turns: [UInt64] = []
    for number: UInt64 in 1...2 { line.enter(try session(number)) { _ in turns.append(number) } }
    #expect(turns == [1])
    #expect(!line.enterAtOnce())
    line.leave()
    #expect(turns == [1, 2])
    #expect(!line.enterAtOnce())
    line.leave()
    #expect(line.enterAtOnce())
  }

  @Test("who is withdrawn is told at once that its turn will not come, and nobody else loses a place") @Loop
  func withdrawal() throws {
    let line = Line(limit: 1)
    var turns: [String] = []
    for number: UInt64 in 1...5 { line.enter(try session(number)) { turns.append("\(number) \($0)") } }
    line.withdraw(try session(3))
    #expect(turns == ["1 true", "3 false"])
    // One that has had its turn, one that is gone, and one that never came.
    for number: UInt64 in [1, 3, 77] { line.withdraw(try session(number)) }
    line.leave()
    line.withdraw(try session(2))
    line.withdraw(try session(4))
    line.leave()
    #expect(turns == ["1 true", "3 false", "2 true", "4 false", "5 true"])
    line.leave()
    line.enter(try session(6)) { turns.append("6 \($0)") }
    #expect(turns.last == "6 true")
  }

  @Test("a turn may leave at once, and enter again") @Loop
  func reentrance() throws {
    let line = Line(limit: 1)
    let limit: UInt64 = 100
    var turns: UInt64 = 0
    line.enter(try session(limit)) { _ in }
    for number in 0..<limit {
      line.enter(try session(number)) { isMine in
        #expect(isMine && turns == number)
        turns += 1
        Loop.perform { line.leave() }
      }
    }
    #expect(turns == 0)
    line.leave()
    #expect(turns == limit)
  }
}
