// Runs a piece of a test on a thread of its own, for what the kernel keeps for each thread.

import Glibc

/// A call that failed.
public struct CallFailed: Error {
  /// Its name.
  public let call: String
  /// Its errno.
  public let code: Int32

  /// - Parameters: as the properties say.
  public init(_ call: String, _ code: Int32) {
    self.call = call
    self.code = code
  }
}

private final class Job {
  let body: () -> Void
  init(_ body: @escaping () -> Void) { self.body = body }
}

/// A call that Swift's Glibc module does not show.
public func symbol<Function>(_ name: String, as type: Function.Type) throws -> Function {
  guard let address = dlsym(nil, name) else { throw CallFailed(name, ENOSYS) }
  return unsafeBitCast(address, to: type)
}

/// Runs the body on a new thread, waits for its end, and returns or throws what it did.
public func onItsOwnThread<Value>(_ body: () throws -> Value) throws -> Value {
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
    if code != 0 { throw CallFailed("pthread_create", code) }
    pthread_join(thread, nil)
  }
  guard let result else { throw CallFailed("pthread_join", ESRCH) }
  return try result.get()
}

/// Runs the body with the effective uid of nobody, which takes root to begin with. Of this thread only: glibc's own
/// seteuid changes all threads.
public func asNobody<Value>(_ body: () throws -> Value) throws -> Value {
  #if arch(x86_64)
    let setresuid = 117
  #elseif arch(arm64)
    let setresuid = 147
  #else
    #error("which number has setresuid(2) on this machine?")
  #endif
  let call = try symbol("syscall", as: (@convention(c) (Int, Int, Int, Int) -> Int).self)
  return try onItsOwnThread {
    guard call(setresuid, -1, 65534, -1) == 0 else { throw CallFailed("setresuid", errno) }
    return try body()
  }
}
