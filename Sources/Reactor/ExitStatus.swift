// How a process ended.

internal import Glibc

/// The end of a process, as the kernel tells it.
public enum ExitStatus: Sendable, Equatable, CustomStringConvertible {
  /// It called exit with this code, 0...255.
  case exited(Int32)
  /// It died of this signal.
  case signaled(Int32)

  /// - Parameter waitStatus: as wait(2) gives it.
  public init(waitStatus: Int32) {
    let signal = waitStatus & 0x7f
    self = signal == 0 ? .exited((waitStatus >> 8) & 0xff) : .signaled(signal)
  }

  /// The code a shell would report: a signal counts as 128 and its number.
  public var code: Int32 {
    switch self {
    case .exited(let code): code
    case .signaled(let signal): 128 + signal
    }
  }

  /// "exit code 3" or "signal 9".
  public var description: String {
    switch self {
    case .exited(let code): "exit code \(code)"
    case .signaled(let signal): "signal \(signal)"
    }
  }
}
