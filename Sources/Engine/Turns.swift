// Whose turn it is where only a few may go at once: in lanes, so that one that does not move holds up no other. Pure.

/// A few permits, and lanes that wait for them.
///
/// Lanes take turns, and in a lane who came first goes first. Who keeps its permit for too long is *slow*: it goes on,
/// but its permit is lent to the next in line. So a lane whose holders hang keeps the others waiting once, and then no
/// more. Slow holders are bounded twice: over all lanes by `slowLimit`, beyond which permits are not lent on, and with
/// everything else of their lane by `permits`. For itself each lane is thus no worse off than behind a semaphore of its
/// own.
struct Turns<Lane: Hashable & Sendable>: Sendable {
  /// Somebody who waits or goes.
  struct Ticket: Hashable, Sendable {
    fileprivate let number: UInt64
  }

  private enum Standing: Sendable {
    case waiting
    /// It has a permit.
    case going
    /// It has a permit that it should have given back, and that could not be lent on.
    case overdue
    /// It has none any more, and goes on all the same.
    case slow
  }

  private struct Line: Sendable {
    /// Oldest first, from `first` on.
    var waiting: [Ticket] = []
    var first = 0
    /// How many go, slow ones too.
    var going = 0

    var isWaiting: Bool { first < waiting.count }

    mutating func takeFirst() -> Ticket {
      defer {
        first += 1
        // What was taken goes now and then, so that taking costs the same however many wait.
        if first == waiting.count || first > 1024 && first > waiting.count / 2 {
          waiting.removeFirst(first)
          first = 0
        }
      }
      return waiting[first]
    }
  }

  /// How many may go at once, slow ones aside; and how many of one lane, slow ones included.
  let permits: Int
  /// How many slow ones there may be.
  let slowLimit: Int
  /// How many permits are out.
  private(set) var going = 0
  /// How many go on without a permit.
  private(set) var slow = 0
  private var last: UInt64 = 0
  private var holders: [Ticket: (lane: Lane, standing: Standing)] = [:]
  private var lines: [Lane: Line] = [:]
  /// The lanes in which somebody waits, in the order of their turns.
  private var order: [Lane] = []
  /// Those that are overdue, oldest first.
  private var overdue: [Ticket] = []

  /// - Parameters: as the properties say; at least 1 permit.
  init(permits: Int, slowLimit: Int) {
    precondition(permits >= 1 && slowLimit >= 0, "without permits nobody ever goes")
    self.permits = permits
    self.slowLimit = slowLimit
  }

  /// How many wait.
  var waiting: Int { holders.count - going - slow }

  /// Somebody lines up. `next` says when its turn has come.
  mutating func arrive(in lane: Lane) -> Ticket {
    last += 1
    let ticket = Ticket(number: last)
    holders[ticket] = (lane, .waiting)
    if lines[lane]?.isWaiting != true { order.append(lane) }
    lines[lane, default: Line()].waiting.append(ticket)
    return ticket
  }

  /// Lets the next one go; nil when nobody may. To be asked after every change until it has no answer.
  mutating func next() -> Ticket? {
    guard going < permits, let index = order.firstIndex(where: { lines[$0, default: Line()].going < permits })
    else { return nil }
    let lane = order.remove(at: index)
    guard var line = lines[lane] else { preconditionFailure("a lane that waits is there") }
    let ticket = line.takeFirst()
    line.going += 1
    // Its next turn comes when all others have had theirs.
    if line.isWaiting { order.append(lane) }
    lines[lane] = line
    holders[ticket]?.standing = .going
    going += 1
    return ticket
  }

  /// Somebody has kept its permit for too long.
  mutating func overstay(_ ticket: Ticket) {
    guard holders[ticket]?.standing == .going else { return }
    holders[ticket]?.standing = .overdue
    overdue.append(ticket)
    lend()
  }

  /// Somebody is done, or waits no longer. Who has left already does nothing.
  mutating func leave(_ ticket: Ticket) {
    guard let (lane, standing) = holders.removeValue(forKey: ticket), var line = lines[lane] else { return }
    switch standing {
    case .waiting:
      if let index = line.waiting[line.first...].firstIndex(of: ticket) { line.waiting.remove(at: index) }
      if !line.isWaiting { order.removeAll { $0 == lane } }
    case .going, .overdue:
      going -= 1
      line.going -= 1
      overdue.removeAll { $0 == ticket }
    case .slow:
      slow -= 1
      line.going -= 1
    }
    lines[lane] = line.isWaiting || line.going > 0 ? line : nil
    lend()
  }

  /// Takes their permits from those that are overdue, as far as slow ones are bounded.
  private mutating func lend() {
    while slow < slowLimit, !overdue.isEmpty {
      holders[overdue.removeFirst()]?.standing = .slow
      going -= 1
      slow += 1
    }
  }
}
