// How many sessions do one thing at a time: the others wait, at the price of a closure each.

internal import Reactor

/// A line of sessions, first come, first served. What a session does at its turn is a task's work and takes kilobytes;
/// of a crowd all but the next few wait here, where a task that waits would keep as much.
@Loop
final class Line {
  private struct Waiting {
    let session: SessionID
    let turn: @Loop (_ isMine: Bool) -> Void
  }

  private var free: Int
  /// nil where one has had its turn: nothing of it is kept by the place that it had.
  private var waiting: [Waiting?] = []
  /// How many of `waiting` have had their turn. Removing each from the front would move all the others.
  private var gone = 0

  /// - Parameter limit: how many have their turn at a time; at least 1.
  init(limit: Int) {
    precondition(limit >= 1, "a line without places never lets anyone in")
    free = limit
  }

  /// Takes a place, if one is free: for who can go on where it is.
  func enterAtOnce() -> Bool {
    guard free > 0 else { return false }
    free -= 1
    return true
  }

  /// Calls `turn` when a session's turn has come, perhaps at once. Whoever had it gives its place back by `leave`.
  func enter(_ session: SessionID, _ turn: @escaping @Loop (_ isMine: Bool) -> Void) {
    guard !enterAtOnce() else { return turn(true) }
    waiting.append(Waiting(session: session, turn: turn))
  }

  /// Has a session wait no longer: it is told that its turn will not come. One that does not wait is let be.
  func withdraw(_ session: SessionID) {
    guard let index = waiting[gone...].firstIndex(where: { $0?.session == session }) else { return }
    waiting.remove(at: index)?.turn(false)
  }

  /// Gives a place back: whoever is next has it.
  func leave() {
    guard gone < waiting.count else {
      free += 1
      waiting = []
      gone = 0
      return
    }
    let next = waiting[gone]
    waiting[gone] = nil
    gone += 1
    if gone > waiting.count / 2 {
      waiting.removeFirst(gone)
      gone = 0
    }
    next?.turn(true)
  }
}
