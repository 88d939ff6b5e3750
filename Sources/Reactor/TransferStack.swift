// Values handed from any thread to one other without a lock.

internal import Synchronization

/// Many threads push, one thread drains. Nobody ever waits for anybody: who drains says so before it sleeps, and is to be
/// woken by the first push after that and by no other.
///
/// Sendable without checking: the only state that threads share is the atomic head; a node is written before it is published
/// and read after it was taken, by release and acquire.
final class TransferStack<Element>: @unchecked Sendable {
  private final class Node {
    let element: Element
    var next: UnsafeMutableRawPointer?
    init(_ element: Element) { self.element = element }
  }

  /// In place of the topmost node of an empty stack while nobody is there to look at it: no object has this address.
  private static var asleep: UnsafeMutableRawPointer? { UnsafeMutableRawPointer(bitPattern: 1) }

  /// The topmost node. Who drains does not look before its first `drain`, so it is woken for that.
  private let head = Atomic<UnsafeMutableRawPointer?>(TransferStack.asleep)
  /// What was taken and was not handed to `drain`'s body yet. Of the draining thread only.
  private var taken: UnsafeMutableRawPointer?

  /// Returns true when the other side sleeps: whoever is told so has to wake it.
  func push(_ element: Element) -> Bool {
    let node = Unmanaged.passRetained(Node(element))
    var expected = head.load(ordering: .relaxed)
    while true {
      let wakes = expected == Self.asleep
      node._withUnsafeGuaranteedRef { $0.next = wakes ? nil : expected }
      let (exchanged, original) = head.weakCompareExchange(
        expected: expected, desired: node.toOpaque(), successOrdering: .releasing, failureOrdering: .relaxed)
      if exchanged { return wakes }
      expected = original
    }
  }

  /// Takes everything, oldest first. From here on no push wakes, until `sleep`.
  func drain(_ body: (Element) -> Void) {
    var newest = head.exchange(nil, ordering: .acquiring)
    if newest == Self.asleep { return }
    while let pointer = newest {
      newest = Unmanaged<Node>.fromOpaque(pointer)._withUnsafeGuaranteedRef { node in
        defer { node.next = taken }
        return node.next
      }
      taken = pointer
    }
    while let pointer = taken {
      let node = Unmanaged<Node>.fromOpaque(pointer).takeRetainedValue()
      taken = node.next
      body(node.element)
    }
  }

  /// Whether anything waits behind what `drain` has handed out. To be asked by who drains only, and not while it sleeps.
  var hasMore: Bool { taken != nil || head.load(ordering: .relaxed) != nil }

  /// To be called by who drains before it waits to be woken. Returns false when there is something to drain already.
  func sleep() -> Bool {
    let (exchanged, original) = head.compareExchange(expected: nil, desired: Self.asleep, ordering: .relaxed)
    return exchanged || original == Self.asleep
  }

  deinit { drain { _ in } }
}
