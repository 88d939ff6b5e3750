// What earlier daemons have left in the journal.

internal import Reactor

/// The journal of a runtime directory, as it is found. Reading it waits for a disk.
struct JournalReading: Sendable {
  /// The records that hold of one session.
  struct Records: Sendable {
    /// The last one that says what never changes.
    var whole: [UInt8] = []
    /// The last one.
    var latest: [UInt8] = []
    /// Where they are.
    var place = Journal.Place()

    /// What they say.
    func facts() throws(Facts.Unreadable) -> Facts { try Facts(whole, latest: latest) }
  }

  private static let separator: UInt8 = 0x1e
  private static let newline = UInt8(ascii: "\n")
  private static let head = Array("{\"session\":\"".utf8)
  private static let origin = Array("\",\"origin\":".utf8)

  /// What there is of each session, over or not.
  private(set) var records: [SessionID: Records] = [:]
  /// The numbers of its files, in their order.
  let numbers: [Int]
  /// Records that are whole and name no session, which no daemon has written.
  private(set) var strays = 0

  /// Reads all of it.
  init(in runtimeDirectory: String) throws(SystemError) {
    numbers = try JournalFile.numbers(in: runtimeDirectory)
    for number in numbers {
      for record in try JournalFile(number, in: runtimeDirectory).content().split(separator: Self.separator) {
        // What does not end like one was cut short.
        if record.last == Self.newline { add(record.dropLast(), of: number) }
      }
    }
  }

  private mutating func add(_ record: ArraySlice<UInt8>, of number: Int) {
    let rest = record.dropFirst(Self.head.count)
    guard record.starts(with: Self.head), let end = rest.firstIndex(of: UInt8(ascii: "\"")),
      let session = SessionID(String(decoding: rest[..<end], as: UTF8.self))
    else {
      strays += 1
      return
    }
    let bytes = Array(record)
    records[session, default: Records()].latest = bytes
    records[session, default: Records()].place.progress = number
    guard rest[end...].starts(with: Self.origin) else { return }
    records[session, default: Records()].whole = bytes
    records[session, default: Records()].place.origin = number
  }
}
