// Who needs which file of the journal: none goes while a session's facts are in it, and none stays after that.

import Foundation
import Glibc
import Reactor
import TestSupport
import Testing

@testable import Sessions

@Suite("Journal")
struct JournalTests {
  private let scratch = Scratch()

  init() { LoopThread.start() }

  private func path(_ number: Int) -> String { "\(scratch.path)/journal/\(number).json-seq" }

  private var files: [String] {
    let names = try? RuntimeDirectory.names(in: "\(scratch.path)/journal")
    return (names ?? []).filter { !$0.hasPrefix(".") }.sorted()
  }

  /// Has a session begin, as its preparation does.
  @Loop private func begin(_ journal: Journal, length: Int = 1) throws -> Journal.Place {
    let file = journal.hold(for: length)
    #expect(try file.append([UInt8](repeating: UInt8(ascii: "x"), count: length)))
    return Journal.Place(origin: file.number, progress: file.number)
  }

  /// Has a session take a step, as `Session.keep` does.
  @Loop private func step(
    _ journal: Journal, _ place: inout Journal.Place, isWhole: Bool = false
  ) throws -> [JournalFile] {
    let file = journal.hold(for: 1)
    #expect(try file.append(Array("x".utf8)))
    return journal.move(&place, to: file.number, isWhole: isWhole)
  }

  @Test("sessions share a file for as long as one of them is there, and the next has another") @Loop
  func shared() throws {
    defer { scratch.remove() }
    let journal = Journal(in: scratch.path)
    var (first, second) = (try begin(journal), try begin(journal))
    #expect(first == Journal.Place(origin: 1, progress: 1))
    #expect(second == first)
    for isWhole in [false, true, false] {
      #expect(try step(journal, &first, isWhole: isWhole).isEmpty)
      #expect(try step(journal, &second, isWhole: isWhole).isEmpty)
    }
    #expect(files == ["1.json-seq"])
    #expect(try contents(of: path(1)) == "xxxxxxxx")
    #expect(journal.leave(first).isEmpty)
    #expect(journal.needed == [1])
    let unneeded = journal.leave(second)
    #expect(unneeded.map(\.number) == [1])
    #expect(journal.needed.isEmpty)
    // What comes before it is removed has a file of its own.
    let third = try begin(journal)
    #expect(third.origin == 2)
    for file in unneeded { file.remove() }
    #expect(files == ["2.json-seq"])
    for file in journal.leave(third) { file.remove() }
    #expect(!exists("\(scratch.path)/journal"))
  }

  @Test("a file that is full takes no more, and of a session that stays two are kept") @Loop
  func rotation() throws {
    defer { scratch.remove() }
    let journal = Journal(in: scratch.path)
    var long = try begin(journal)
    for number in 1...4 {
      let other = try begin(journal, length: Journal.lengthLimit)
      #expect(other.origin == number)
      #expect(journal.leave(other).isEmpty)
      // Its first file has what never changes.
      let unneeded = try step(journal, &long)
      #expect(unneeded.map(\.number) == (number == 1 ? [] : [number]))
      for file in unneeded { file.remove() }
      #expect(long == Journal.Place(origin: 1, progress: number + 1))
      #expect(journal.needed == [1, number + 1])
    }
    #expect(files == ["1.json-seq", "5.json-seq"])
    for file in try step(journal, &long, isWhole: true) { file.remove() }
    #expect(files == ["5.json-seq"])
    #expect(try step(journal, &long).isEmpty)
    for file in journal.leave(long) { file.remove() }
    #expect(!exists("\(scratch.path)/journal"))
    #expect(journal.needed.isEmpty)
  }

  @Test("what was held for facts that were not written is let go") @Loop
  func released() throws {
    defer { scratch.remove() }
    let journal = Journal(in: scratch.path)
    let place = try begin(journal)
    #expect(journal.release(journal.hold(for: 1).number).isEmpty)
    #expect(journal.needed == [1])
    #expect(journal.leave(place).map(\.number) == [1])
    #expect(journal.release(journal.hold(for: 1).number).map(\.number) == [2])
    #expect(journal.needed.isEmpty)
  }

  @Test("after a loss all write again what never changes") @Loop
  func lost() throws {
    defer { scratch.remove() }
    let journal = Journal(in: scratch.path)
    #expect(journal.mayLack(Journal.Place()))
    var (first, second) = (try begin(journal), try begin(journal))
    #expect(!journal.mayLack(first))
    let held = journal.hold(for: 1)
    #expect(unlink(path(1)) == 0)
    journal.lose(held)
    #expect(journal.mayLack(first))
    #expect(journal.mayLack(second))
    #expect(try step(journal, &first, isWhole: true).isEmpty)
    #expect(first == Journal.Place(origin: 2, progress: 2))
    #expect(!journal.mayLack(first))
    // Who is told of it later finds that this is known.
    journal.lose(held)
    #expect(!journal.mayLack(first))
    #expect(try step(journal, &second, isWhole: true).isEmpty)
    #expect(journal.release(held.number).map(\.number) == [1])
    #expect(journal.needed == [2])
    #expect(journal.leave(first).isEmpty)
    #expect(journal.leave(second).map(\.number) == [2])
    journal.lose()
    #expect(try begin(journal).origin == 3)
  }

  @Test("a loss is noticed by whoever writes next, also where no file was open") @Loop
  func noticed() throws {
    defer { scratch.remove() }
    let journal = Journal(in: scratch.path)
    journal.begin(after: 4)
    let old = Journal.Place(origin: 3, progress: 4)
    #expect(try JournalFile(4, in: scratch.path).append([0]))
    journal.adopt(old)
    let first = journal.hold(for: 1)
    #expect(try first.append([0]))
    journal.notice(first)
    #expect(!journal.mayLack(old))
    #expect(journal.release(5).map(\.number) == [5])
    for number in [4, 5] { JournalFile(number, in: scratch.path).remove() }
    #expect(!exists("\(scratch.path)/journal"))
    let second = journal.hold(for: 1)
    #expect(try second.append([0]))
    journal.notice(second)
    #expect(journal.mayLack(old))
    #expect(!journal.mayLack(Journal.Place(origin: 6, progress: 6)))
  }

  @Test("what is on its way counts, so no file grows far beyond its limit") @Loop
  func planned() throws {
    defer { scratch.remove() }
    let journal = Journal(in: scratch.path)
    let files = (0..<9).map { _ in journal.hold(for: Journal.lengthLimit / 3 + 1) }
    #expect(files.map(\.number) == [1, 1, 1, 2, 2, 2, 3, 3, 3])
    let large = journal.hold(for: Facts.sizeLimit)
    #expect(large.number == 4)
    #expect(journal.hold(for: 1).number == 5)
  }

  @Test("a file is made while the one before it is removed, and the directory with it") @Loop
  func directoryRace() async throws {
    defer { scratch.remove() }
    let worker = try Worker()
    for number in 1...2000 {
      let (before, next) = (JournalFile(number, in: scratch.path), JournalFile(number + 1, in: scratch.path))
      async let written = worker.run { Result { try next.append([0]) } }
      await Loop.yield()
      #expect(before.remove() == nil)
      #expect(try await written.get())
      #expect(files == ["\(number + 1).json-seq"])
    }
  }

  @Test("files of earlier daemons go with the last session that has its facts in them") @Loop
  func adopted() throws {
    defer { scratch.remove() }
    let journal = Journal(in: scratch.path)
    journal.begin(after: 7)
    var places = [(3, 7), (7, 7), (0, 0)].map { Journal.Place(origin: $0.0, progress: $0.1) }
    for place in places { journal.adopt(place) }
    #expect(journal.needed == [3, 7])
    let new = try begin(journal)
    #expect(new.origin == 8)
    #expect(try step(journal, &places[0]).isEmpty)
    #expect(places[0] == Journal.Place(origin: 3, progress: 8))
    #expect(journal.mayLack(places[2]))
    #expect(try step(journal, &places[2], isWhole: true).isEmpty)
    #expect(journal.leave(places[1]).map(\.number) == [7])
    #expect(journal.leave(places[0]).map(\.number) == [3])
    #expect(journal.leave(places[2]).isEmpty)
    #expect(journal.leave(new).map(\.number) == [8])
    // A later look finds less than there was.
    journal.begin(after: 2)
    #expect(try begin(journal).origin == 9)
  }

  @Test("records that the loop and the worker write at a time are whole, each in its order") @Loop
  func concurrent() async throws {
    defer { scratch.remove() }
    let journal = Journal(in: scratch.path)
    let worker = try Worker()
    let count = 2000
    let file = journal.hold(for: 1)
    @Sendable func write(_ letter: String) throws {
      for number in 0..<count {
        let word = String(repeating: letter, count: number % 300 + 1)
        #expect(try file.append(Array("\n\(word) \(number)\n".utf8)))
      }
    }
    async let others: Result<Void, any Error> = worker.run { Result { try write("w") } }
    await Loop.yield()
    try write("l")
    try await others.get()
    let lines = try contents(of: path(1)).split(separator: "\n")
    #expect(lines.count == 2 * count)
    for letter in ["w", "l"] {
      let own = lines.filter { $0.hasPrefix(letter) }
      let expected = (0..<count).map { "\(String(repeating: letter, count: $0 % 300 + 1)) \($0)" }
      #expect(own.map(String.init) == expected)
    }
  }
}
