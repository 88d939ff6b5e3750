// Where sessions keep their facts: a file that many share, and who still needs it.

internal import Reactor

/// The files that facts are appended to, one after the other. A file is there for as long as a session's facts are in it, so
/// where no session is there is none. A file for each session would have to be made, opened for each step, and removed.
@Loop
final class Journal {
  /// From this length on a file takes no more. It is what a session that stays can keep of others that have gone, in the file
  /// with its origin and in the one with its last step.
  nonisolated static let lengthLimit = 1 << 16

  /// Where one session's facts are, by the numbers of files. None has the number 0.
  struct Place: Sendable, Equatable {
    /// Has what never changes.
    var origin = 0
    /// Has how far the session came last.
    var progress = 0
  }

  private let path: String
  private var file: JournalFile?
  /// How long it is at most, once all is written that it was held for.
  private var length = 0
  /// The number of the file that was made or found last.
  private var last = 0
  /// Of the files up to this one it is not known whether they are still there.
  private var lost = 0
  /// How often each file is needed.
  private var holds: [Int: Int] = [:]

  /// The journal of the runtime directory at `path`. Nothing is made or looked at.
  init(in path: String) { self.path = path }

  /// The file that a record goes to. It is needed until `release`, or `move` and `leave`, where it was written.
  ///
  /// - Parameter count: the record's bytes.
  func hold(for count: Int) -> JournalFile {
    if let file, length < Self.lengthLimit {
      length += count
      hold(file.number)
      return file
    }
    last += 1
    let next = JournalFile(last, in: path)
    (file, length) = (next, count)
    hold(next.number)
    return next
  }

  private func hold(_ number: Int) { holds[number, default: 0] += 1 }

  /// A file is not needed any more for what `hold` was called for.
  ///
  /// - Returns: files that nobody needs any more. They are removed by whoever gets them.
  func release(_ number: Int) -> [JournalFile] {
    guard let count = holds[number] else { return [] }
    guard count == 1 else {
      holds[number] = count - 1
      return []
    }
    holds[number] = nil
    guard let file, file.number == number else { return [JournalFile(number, in: path)] }
    self.file = nil
    return [file]
  }

  /// A session's facts were written.
  ///
  /// - Parameters:
  ///   - place: where they were until then.
  ///   - number: the file that was held for them.
  ///   - isWhole: whether with what never changes.
  /// - Returns: files that nobody needs any more. They are removed by whoever gets them.
  func move(_ place: inout Place, to number: Int, isWhole: Bool) -> [JournalFile] {
    let before = place
    place.progress = number
    if isWhole { place.origin = number }
    // Of the two files that a place names one that is both is held once.
    var unneeded = before.progress == before.origin ? [] : release(before.progress)
    if isWhole {
      unneeded += release(before.origin)
    } else if number == before.origin {
      unneeded += release(number)
    }
    return unneeded
  }

  /// The facts at this place are not needed any more.
  ///
  /// - Returns: files that nobody needs any more. They are removed by whoever gets them.
  func leave(_ place: Place) -> [JournalFile] {
    let unneeded = release(place.origin)
    return place.progress == place.origin ? unneeded : unneeded + release(place.progress)
  }

  /// Whether facts at this place may be there no more.
  func mayLack(_ place: Place) -> Bool { place.origin <= lost }

  /// A record was written to `file`: it may show that those before it were removed.
  func notice(_ file: JournalFile) {
    if file.isFirst { lost = max(lost, file.number - 1) }
  }

  /// Somebody has removed a file: nothing more goes there, and who has facts in it or in one before it writes them again.
  func lose(_ file: JournalFile) { if file.number > lost { lose() } }

  /// Somebody has removed all of it.
  func lose() {
    lost = last
    file = nil
  }

  // MARK: What earlier daemons have left

  /// Begins behind the files that there are.
  func begin(after number: Int) { last = max(last, number) }

  /// A session of an earlier daemon has its facts there.
  func adopt(_ place: Place) {
    guard place.origin > 0 else { return }
    hold(place.origin)
    if place.progress != place.origin { hold(place.progress) }
  }

  /// The files that somebody needs.
  var needed: Set<Int> { Set(holds.keys) }
}
