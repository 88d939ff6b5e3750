// What earlier daemons have left in the journal.

internal import Glibc
internal import Reactor
internal import SystemPackage

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

  private static let originKey = Array("\",\"origin\":".utf8)

  /// What there is of the sessions that were asked for.
  private(set) var records: [SessionID: Records] = [:]
  /// The numbers of its files, in their order.
  let numbers: [Int]
  /// Records that are whole and name no session, which no daemon has written.
  private(set) var strays = 0

  /// Reads the records of these sessions.
  init(of sessions: Set<SessionID>, in runtimeDirectory: String) throws(SystemError) {
    numbers = try JournalFile.numbers(in: runtimeDirectory)
    for number in numbers {
      let content = try JournalFile(number, in: runtimeDirectory).content()
      Self.forEachRecord(in: content) { record in
        guard let session = Self.session(of: record) else {
          strays += 1
          return
        }
        guard sessions.contains(session) else { return }
        let bytes = Array(record)
        var known = records[session] ?? Records()
        known.latest = bytes
        known.place.progress = number
        let rest = record.dropFirst(Facts.recordHead.count + session.description.utf8.count)
        if rest.starts(with: Self.originKey) {
          known.whole = bytes
          known.place.origin = number
        }
        records[session] = known
      }
    }
  }

  /// Goes through the records that are whole: there is a newline before each and one behind it, and then the next or nothing.
  private static func forEachRecord(in bytes: [UInt8], _ body: (ArraySlice<UInt8>) -> Void) {
    var start = bytes.startIndex
    while let end = bytes[start...].dropFirst().firstIndex(of: Facts.newline) {
      let isWhole = end + 1 == bytes.endIndex || bytes[end + 1] == Facts.newline
      let record = bytes[(start + (bytes[start] == Facts.newline ? 1 : 0))..<end]
      if isWhole, !record.isEmpty { body(record) }
      // What was cut short ends at the newline that the next one begins with.
      start = isWhole ? end + 1 : end
      guard start < bytes.endIndex else { return }
    }
  }

  private static func session(of record: ArraySlice<UInt8>) -> SessionID? {
    guard record.starts(with: Facts.recordHead) else { return nil }
    let rest = record.dropFirst(Facts.recordHead.count)
    guard let end = rest.firstIndex(of: UInt8(ascii: "\"")) else { return nil }
    return SessionID(String(decoding: rest[..<end], as: UTF8.self))
  }
}
