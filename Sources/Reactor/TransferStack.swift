// Values handed from any thread to one other without a lock.

internal import Synchronization

/// Many threads push, one thread drains. Nobody ever waits for anybody.
///
/// Sendable without checking: the only shared state is the atomic head; a node is written before it is published
/// and read after it was taken, by release and acquire.
final class TransferStack<Element>: @unchecked Sendable {
  private final class Node {
    let element: Element
    var next: UnsafeMutableRawPointer?
    init(_ element: Element) { self.element = element }
  }

  private let head = Atomic<UnsafeMutableRawPointer?>(nil)

  /// Returns true when the stack was empty: the one push after which the other side has to be woken.
  func push(_ element: Element) -> Bool {
    let node = Unmanaged.passRetained(Node(element))
    var expected = head.load(ordering: .relaxed)
    while true {
      node._withUnsafeGuaranteedRef { $0.next = expected }
      let (exchanged, original) = head.weakCompareExchange(
        expected: expected, desired: node.toOpaque(), successOrdering: .releasing, failureOrdering: .relaxed)
      if exchanged { return original == nil }
      expected = original
    }
  }

  /// Takes everything, oldest first.
  func drain(_ body: (Element) -> Void) {
    var next = head.exchange(nil, ordering: .acquiring)
    var newestFirst: [Element] = []
    while let pointer = next {
      let node = Unmanaged<Node>.fromOpaque(pointer).takeRetainedValue()
      newestFirst.append(node.element)
      next = node.next
    }
    for element in newestFirst.reversed() { body(element) }
  }

  deinit { drain { _ in } }
}
