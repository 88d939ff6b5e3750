// How many sessions of a profile start their containers at a time: the others wait, at the price of a closure each.

internal import Reactor

/// A line for each profile, first come, first served.
///
/// What starts a container takes kilobytes, and the gate has only a few podman processes at a time: of a crowd all but the
/// next few wait here. A line for each profile, because a profile whose launches hang must hold no other back.
@Loop
final class StartLine {
  /// Starts of one profile at a time. Many more than podman has processes, so that the gate is never without one.
  static let limit = 64

  private struct Waiting {
    let session: SessionID
    let begin: @Loop (_ mayStart: Bool) -> Void
  }

  private struct Line {
    var running = 0
    var waiting: [Waiting] = []
    /// How many of `waiting` have been let in. Removing each from the front would move all the others.
    var gone = 0
  }

  private var lines: [String: Line] = [:]

  /// Calls `begin` when a session's turn has come, perhaps at once. Who was told that it may start gives its place back.
  func enter(_ session: SessionID, of profile: String, _ begin: @escaping @Loop (_ mayStart: Bool) -> Void) {
    var line = lines[profile] ?? Line()
    let isFree = line.running < Self.limit
    if isFree { line.running += 1 } else { line.waiting.append(Waiting(session: session, begin: begin)) }
    lines[profile] = line
    if isFree { begin(true) }
  }

  /// Has a session wait no longer: it is told that it may not start. One that does not wait is let be.
  func withdraw(_ session: SessionID, of profile: String) {
    guard let line = lines[profile],
      let index = line.waiting[line.gone...].firstIndex(where: { $0.session == session })
    else { return }
    let withdrawn = line.waiting[index]
    lines[profile]?.waiting.remove(at: index)
    withdrawn.begin(false)
  }

  /// Gives a place back: the next in line has it.
  func leave(_ profile: String) {
    guard var line = lines[profile] else { return }
    guard line.gone < line.waiting.count else {
      line.running -= 1
      line.waiting = []
      line.gone = 0
      lines[profile] = line.running > 0 ? line : nil
      return
    }
    let next = line.waiting[line.gone]
    line.gone += 1
    if line.gone > line.waiting.count / 2 {
      line.waiting.removeFirst(line.gone)
      line.gone = 0
    }
    lines[profile] = line
    next.begin(true)
  }
}
