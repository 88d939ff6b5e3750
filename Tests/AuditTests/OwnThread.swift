// Runs a piece of a test on a thread with a umask or a user of its own: those belong to the whole process
// otherwise, and the other tests of the process run at the same time.

import Glibc

private final class Job {
  let body: () -> Void
  init(_ body: @escaping () -> Void) { self.body = body }
}

/// A call that Swift's Glibc module does not show.
private func symbol<Function>(_ name: String, as type: Function.Type) throws -> Function {
  guard let address = dlsym(nil, name) else { throw Failure(call: name, code: ENOSYS) }
  return unsafeBitCast(address, to: type)
}

private func onItsOwnThread<Value>(_ body: () throws -> Value) throws -> Value {
  var result: Result<Value, any Error>?
  try withoutActuallyEscaping(body) { body in
    let job = Unmanaged.passRetained(Job { result = Result { try body() } })
    var thread = pthread_t()
    let code = pthread_create(
      &thread, nil,
      { context in
        context.map { Unmanaged<Job>.fromOpaque($0).takeRetainedValue().body() }
        return nil
      }, job.toOpaque())
    if code != 0 { throw Failure(call: "pthread_create", code: code) }
    pthread_join(thread, nil)
  }
  guard let result else { throw Failure(call: "pthread_join", code: ESRCH) }
  return try result.get()
}

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
