// What was logged, for tests that look at it or wait for it.

import Logging
import Reactor
import Synchronization

/// Collects events, and wakes who waits for one.
final class Events: Sendable {
  private let all = Mutex<[(name: String, facts: [String: String])]>([])
  @Loop private var waiting: [Latch] = []

  /// The facts of each event of this name.
  subscript(name: String) -> [[String: String]] {
    all.withLock { $0.filter { $0.name == name }.map(\.facts) }
  }

  /// Returns when so many events of this name have been logged.
  @Loop func wait(for name: String, _ count: Int = 1) async {
    while self[name].count < count {
      let changed = Latch()
      waiting.append(changed)
      await changed.wait()
    }
  }

  fileprivate func append(_ name: String, _ facts: [String: String]) {
    all.withLock { $0.append((name, facts)) }
    Loop.perform {
      for latch in self.waiting { latch.open() }
      self.waiting = []
    }
  }
}

/// Writes events down.
struct EventRecorder: LogHandler {
  let events: Events
  var metadata: Logger.Metadata = [:]
  var logLevel = Logger.Level.trace

  init(_ events: Events) { self.events = events }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    let facts = metadata.merging(event.metadata ?? [:]) { $1 }
    events.append(event.message.description, facts.mapValues(\.description))
  }
}
