// Runs a piece of a test on a thread with a umask or a user of its own: those belong to the whole process
// otherwise, and the other tests of the process run at the same time.

import Glibc
import TestSupport

/// Runs the body under a umask that nobody else sees.
func withUmask<Value>(_ mask: mode_t, _ body: () throws -> Value) throws -> Value {
  let cloneFS: Int32 = 0x200
  let unshare = try symbol("unshare", as: (@convention(c) (Int32) -> Int32).self)
  return try onItsOwnThread {
    try check("unshare", unshare(cloneFS))
    umask(mask)
    return try body()
  }
}

/// Runs the body as a user who is not root, for everything that has to do with files: as this one, or, where
/// this is root, as uid 65534, whom the kernel grants none of root's rights over files.
func asOrdinaryUser<Value>(_ body: (uid_t) throws -> Value) throws -> Value {
  guard geteuid() == 0 else { return try body(geteuid()) }
  let nobody: uid_t = 65534
  let setfsuid = try symbol("setfsuid", as: (@convention(c) (uid_t) -> Int32).self)
  return try onItsOwnThread {
    _ = setfsuid(nobody)
    // The second call tells what the first one did; it has no other way to fail.
    guard setfsuid(nobody) == Int32(nobody) else { throw Failure(call: "setfsuid", code: EPERM) }
    return try body(nobody)
  }
}
