// The failure of one system call: which call, on what, and why.

public import SystemPackage

/// A system call that failed, with its name and its errno.
public struct SystemError: Error, CustomStringConvertible {
  /// The call or the step, as the operator would look it up: "bind", "posix_spawn podman".
  public let call: String
  /// Why.
  public let errno: Errno

  /// - Parameters:
  ///   - call: the call that failed.
  ///   - errno: its error.
  public init(_ call: String, _ errno: Errno) {
    self.call = call
    self.errno = errno
  }

  /// "bind: Permission denied".
  public var description: String { "\(call): \(errno)" }

  /// Turns the C convention of CSupport (negative errno) into a value or an error.
  @discardableResult
  static func check(_ call: String, _ result: Int32) throws(SystemError) -> Int32 {
    guard result < 0 else { return result }
    throw SystemError(call, Errno(rawValue: -result))
  }
}
