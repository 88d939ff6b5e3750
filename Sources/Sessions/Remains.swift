// What a start finds in the runtime directory, before anything is decided about it.

internal import Reactor

/// What earlier daemons have left in the runtime directory.
struct Remains: Sendable {
  /// What there is of a session's facts.
  struct Left: Sendable {
    let facts: Result<Facts?, Facts.Unreadable>
    let place: Journal.Place
  }

  /// The sessions that have a directory.
  let sessions: [SessionID]
  /// What is left of sessions that have one or are in the journal, also of those that are over.
  private(set) var left: [SessionID: Left]
  /// The last file of the journal.
  let lastFile: Int
  let strays: Int

  /// On the worker: looks.
  init(in runtimeDirectory: RuntimeDirectory) throws(SystemError) {
    sessions = try PrivateDirectory.sessions(in: runtimeDirectory.path)
    let journal = try JournalReading(in: runtimeDirectory.path)
    (lastFile, strays) = (journal.numbers.last ?? 0, journal.strays)
    left = journal.records.mapValues { records in
      Left(facts: Result { () throws(Facts.Unreadable) in try records.facts() }, place: records.place)
    }
    for session in sessions {
      let directory = PrivateDirectory(in: runtimeDirectory, session: session)
      directory.adoptFormerReport()
      guard left[session] == nil else { continue }
      let facts = Result { () throws(Facts.Unreadable) in try directory.formerFacts() }
      left[session] = Left(facts: facts, place: Journal.Place())
    }
  }
}
