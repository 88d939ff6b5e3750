// System calls with typed errors: the name of the call, the path it was about, and errno.

internal import CSupport
internal import Glibc
internal import Reactor

// Paths are for errors only, so they are made when there is one: sealing handles too many entries to spell each.

/// Makes a call that answers with -1 and errno; an interrupted call is made again.
@discardableResult
func call(
  _ name: StaticString, _ path: @autoclosure () -> String, _ body: () -> Int
) throws(AuditError) -> Int {
  while true {
    let result = body()
    if result >= 0 { return result }
    let code = errno
    if code != EINTR { throw .system(call: "\(name)", path: path(), code: code) }
  }
}

/// Opens a name in a directory (AT_FDCWD for a path). Never follows a symlink at the end, unless told to,
/// never waits for the other end of a FIFO, and never leaves the descriptor to a child.
func openDescriptor(
  _ name: UnsafePointer<CChar>, in directory: Int32 = AT_FDCWD, _ flags: Int32, mode: mode_t = 0,
  following: Bool = false, path: @autoclosure () -> String
) throws(AuditError) -> Descriptor {
  let flags = openFlags(flags, following: following)
  return Descriptor(owning: Int32(try call("open", path()) { Int(openat(directory, name, flags, mode)) }))
}

/// The same for a name that is a string: lent out where it is, while a conversion would copy it.
func openDescriptor(
  _ name: String, in directory: Int32 = AT_FDCWD, _ flags: Int32, mode: mode_t = 0,
  following: Bool = false, path: @autoclosure () -> String
) throws(AuditError) -> Descriptor {
  let flags = openFlags(flags, following: following)
  let raw = try call("open", path()) { name.withCString { Int(openat(directory, $0, flags, mode)) } }
  return Descriptor(owning: Int32(raw))
}

private func openFlags(_ flags: Int32, following: Bool) -> Int32 {
  flags | O_CLOEXEC | O_NONBLOCK | (following ? 0 : O_NOFOLLOW)
}

/// What is known of an inode without opening it.
struct Entry {
  let mode: mode_t
  let owner: uid_t
  let links: UInt32
  let device: UInt64
  /// The mount it was found on; 0 where the kernel does not say.
  let mount: UInt64

  var permissions: mode_t { return mode & 0o7777 }
  var type: mode_t { return mode & S_IFMT }

  /// Describes a name in a directory, a symlink as itself; with an empty name, what the descriptor holds.
  init(
    describing name: UnsafePointer<CChar>, in directory: Int32, path: @autoclosure () -> String
  ) throws(AuditError) {
    var found = agentd_entry()
    let result = agentd_entry_describe(directory, name, &found)
    if result < 0 { throw .system(call: "statx", path: path(), code: -result) }
    self.init(
      mode: found.mode, owner: found.owner, links: found.links, device: found.device, mount: found.mount)
  }

  init(mode: mode_t, owner: uid_t, links: UInt32, device: UInt64, mount: UInt64) {
    self.mode = mode
    self.owner = owner
    self.links = links
    self.device = device
    self.mount = mount
  }
}

/// Takes hold of an inode, whatever it is, without opening it for real (O_PATH | O_NOFOLLOW).
func hold(
  _ name: UnsafePointer<CChar>, in directory: Int32, path: @autoclosure () -> String
) throws(AuditError) -> Descriptor {
  let result = agentd_entry_hold(directory, name)
  if result < 0 { throw .system(call: "open", path: path(), code: -result) }
  return Descriptor(owning: result)
}

/// Sets the mode of the very inode that a descriptor holds. fchmod refuses a descriptor that was not opened for
/// real, and one that was is not to be had of a file with mode 000.
struct HeldModes: ~Copyable, Sendable {
  /// /proc/self/fd, once it was needed.
  private var descriptors: Descriptor?

  mutating func set(_ mode: mode_t, on held: Int32, path: @autoclosure () -> String) throws(AuditError) {
    // A quarter cheaper than the way through /proc, which has the last word where this one is not to be had.
    if agentd_entry_set_mode(held, mode) < 0 { try setThroughProc(mode, on: held, path: path()) }
  }

  /// The way before Linux 6.6.
  mutating func setThroughProc(_ mode: mode_t, on held: Int32, path: String) throws(AuditError) {
    let directory: Int32
    if let opened = descriptors?.raw {
      directory = opened
    } else {
      let opened = try openDescriptor("/proc/self/fd", O_RDONLY | O_DIRECTORY, path: "/proc/self/fd")
      directory = opened.raw
      descriptors = consume opened
    }
    try call("chmod", path) { Int(fchmodat(directory, String(held), mode, 0)) }
  }
}
