// How the parts of one task's world tell it what happened: a bounded queue with one reader.

/// A queue that anything on the loop can post to and one task reads.
@Loop
public final class Inbox<Message> {
  @usableFromInline let capacity: Int
  @usableFromInline var messages: [Message] = []
  @usableFromInline var reader: CheckedContinuation<Void, Never>?

  /// - Parameter capacity: how many unread messages are kept. A post beyond that traps: who posts is our own code,
  ///   and each source posts a known number of times.
  @inlinable public init(capacity: Int) {
    self.capacity = capacity
  }

  /// Hands a message over. Never suspends.
  @inlinable public func post(_ message: sending Message) {
    precondition(messages.count < capacity, "more messages were posted than their sources can have")
    messages.append(message)
    reader?.resume()
    reader = nil
  }

  /// The oldest unread message, as soon as there is one. One reader at a time.
  @inlinable public func next() async -> Message {
    while messages.isEmpty {
      precondition(reader == nil, "an inbox has one reader")
      await withCheckedContinuation { continuation in
        // Asked again: a task that prefers no executor has left the loop and come back to it to get here.
        if messages.isEmpty { reader = continuation } else { continuation.resume() }
      }
    }
    return messages.removeFirst()
  }
}
