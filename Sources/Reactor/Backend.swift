// What the loop needs of a kernel interface, and the choice between io_uring and epoll.

internal import CSupport
internal import SystemPackage

/// Which edges of a descriptor are reported.
public struct Interest: OptionSet, Sendable {
  /// A set of AGENTD_READY_ bits.
  public let rawValue: UInt32
  /// - Parameter rawValue: a set of AGENTD_READY_ bits.
  public init(rawValue: UInt32) { self.rawValue = rawValue }
  /// Something can be read, or the other side has gone.
  public static let read = Interest(rawValue: UInt32(AGENTD_READY_READ))
  /// Something can be written.
  public static let write = Interest(rawValue: UInt32(AGENTD_READY_WRITE))
  /// The other side has gone for good. Always reported, whether asked for or not.
  public static let hangup = Interest(rawValue: UInt32(AGENTD_READY_HANGUP))
  /// The registration ends with its first report until `Watch.rearm`, so that what is over by then needs no removal. A
  /// backend may report what comes before that call, too.
  static let once = Interest(rawValue: UInt32(AGENTD_READY_ONCE))
}

/// Where the file is that a backend looks at.
enum FilePlace {
  /// Behind a descriptor.
  case descriptor(Int32)
  /// In the backend's own table.
  case stowed(Int32)
}

/// A source of readiness. Every edge is reported once; a caller works until EAGAIN and then waits for the next.
///
/// All code above this protocol is the same whichever implements it.
protocol Backend: AnyObject {
  func add(_ place: FilePlace, _ interest: Interest, token: UInt64) throws(SystemError)
  /// Ends a registration. Its descriptor may be closed then, but the file behind it may stay open until the next `wait`
  /// or `settle`.
  func remove(_ place: FilePlace, token: UInt64)
  /// Lets go of the files of all that was removed.
  func settle()
  /// Keeps the file behind a descriptor in a table that the open-files limit does not count, and returns its slot; nil
  /// where there is none, or no room in it.
  func stow(_ fd: Int32) -> Int32?
  /// A new descriptor of what is stowed.
  func reopen(_ slot: Int32) -> Int32?
  /// Lets go of what is stowed.
  func discard(_ slot: Int32)
  /// Copies what is ready into `events` and returns how many. With `block`, waits for the first.
  func wait(_ events: UnsafeMutableBufferPointer<agentd_event>, block: Bool) throws(SystemError) -> Int
}

/// Which kernel interface the loop waits on, and why that one.
public struct BackendChoice: Sendable, Equatable {
  /// The two kinds, by the words AGENTD_REACTOR takes.
  public enum Kind: String, Sendable, CaseIterable {
    /// Linux's io_uring.
    case ioUring = "io_uring"
    /// epoll(7).
    case epoll
  }

  /// The kind in use.
  public let kind: Kind
  /// One clause for the log: why this kind.
  public let reason: String
}

/// AGENTD_REACTOR asked for something that cannot be had.
public struct BackendUnavailable: Error, CustomStringConvertible {
  /// One sentence with what to do.
  public let description: String
}

/// Opens the backend that `forced` (the value of AGENTD_REACTOR) names, else io_uring where the kernel grants it,
/// else epoll.
func openBackend(forced: String?) throws(BackendUnavailable) -> (any Backend, BackendChoice) {
  let kind: BackendChoice.Kind?
  if let forced, !forced.isEmpty {
    kind = BackendChoice.Kind(rawValue: forced)
    guard kind != nil else {
      throw BackendUnavailable(
        description: "AGENTD_REACTOR is \"\(forced)\": set it to io_uring or epoll, or unset it.")
    }
  } else {
    kind = nil
  }
  let ringRefusal: SystemError
  if kind == .epoll {
    return try openEpoll(reason: "AGENTD_REACTOR asks for it")
  }
  do throws(SystemError) {
    let ring = try Ring()
    let reason = kind == nil ? "the kernel grants it" : "AGENTD_REACTOR asks for it"
    return (ring, BackendChoice(kind: .ioUring, reason: reason))
  } catch {
    ringRefusal = error
  }
  guard kind == nil else {
    throw BackendUnavailable(
      description: "AGENTD_REACTOR asks for io_uring, which this kernel refuses (\(ringRefusal)). "
        + "Unset it to use epoll, or enable io_uring (sysctl kernel.io_uring_disabled=0).")
  }
  return try openEpoll(reason: "io_uring is not granted: \(ringRefusal)")
}

private func openEpoll(reason: String) throws(BackendUnavailable) -> (any Backend, BackendChoice) {
  do throws(SystemError) {
    return (try Epoll(), BackendChoice(kind: .epoll, reason: reason))
  } catch {
    throw BackendUnavailable(
      description: "The kernel refuses an epoll descriptor (\(error)): raise the open-files limit.")
  }
}

/// io_uring through CSupport's opaque ring.
private final class Ring: Backend {
  private let ring: OpaquePointer

  init() throws(SystemError) {
    var opened: OpaquePointer?
    try SystemError.check("io_uring_setup", agentd_ring_open(&opened))
    guard let opened else { throw SystemError("io_uring_setup", .noMemory) }
    ring = opened
  }

  deinit { agentd_ring_close(ring) }

  func add(_ place: FilePlace, _ interest: Interest, token: UInt64) throws(SystemError) {
    let result =
      switch place {
      case .descriptor(let fd): agentd_ring_add(ring, fd, interest.rawValue, token)
      case .stowed(let slot): agentd_ring_add_stowed(ring, slot, interest.rawValue, token)
      }
    try SystemError.check("io_uring poll", result)
  }

  func stow(_ fd: Int32) -> Int32? {
    let slot = agentd_ring_stow(ring, fd)
    return slot < 0 ? nil : slot
  }

  func reopen(_ slot: Int32) -> Int32? {
    let fd = agentd_ring_reopen(ring, slot)
    return fd < 0 ? nil : fd
  }

  func discard(_ slot: Int32) { agentd_ring_discard(ring, slot) }

  func remove(_ place: FilePlace, token: UInt64) {
    let result = agentd_ring_remove(ring, token)
    // The kernel takes one in every state but a ring that has been misused, which no operator can repair.
    precondition(result >= 0, "io_uring refused to remove a poll: \(Errno(rawValue: -result))")
  }

  func settle() {
    let result = agentd_ring_settle(ring)
    precondition(result >= 0, "io_uring refused to remove polls: \(Errno(rawValue: -result))")
  }

  func wait(_ events: UnsafeMutableBufferPointer<agentd_event>, block: Bool) throws(SystemError) -> Int {
    let count = agentd_ring_wait(ring, events.baseAddress, UInt32(events.count), block)
    guard count != -Errno.interrupted.rawValue else { return 0 }
    return Int(try SystemError.check("io_uring_enter", count))
  }
}

/// Edge-triggered epoll.
private final class Epoll: Backend {
  private let epoll: Descriptor

  init() throws(SystemError) {
    epoll = Descriptor(owning: try SystemError.check("epoll_create1", agentd_epoll_open()))
  }

  func add(_ place: FilePlace, _ interest: Interest, token: UInt64) throws(SystemError) {
    guard case .descriptor(let fd) = place else { preconditionFailure("epoll stows nothing") }
    try SystemError.check("epoll_ctl", agentd_epoll_add(epoll.raw, fd, interest.rawValue, token))
  }

  // epoll lets go of a file when it is told.
  func settle() {}

  // epoll forgets a file whose last descriptor is closed.
  func stow(_ fd: Int32) -> Int32? { nil }
  func reopen(_ slot: Int32) -> Int32? { nil }
  func discard(_ slot: Int32) {}

  func remove(_ place: FilePlace, token: UInt64) {
    guard case .descriptor(let fd) = place else { preconditionFailure("epoll stows nothing") }
    let result = agentd_epoll_remove(epoll.raw, fd)
    precondition(result >= 0, "epoll refused to remove a descriptor: \(Errno(rawValue: -result))")
  }

  func wait(_ events: UnsafeMutableBufferPointer<agentd_event>, block: Bool) throws(SystemError) -> Int {
    let count = agentd_epoll_wait(epoll.raw, events.baseAddress, UInt32(events.count), block)
    guard count != -Errno.interrupted.rawValue else { return 0 }
    return Int(try SystemError.check("epoll_wait", count))
  }
}
