// Signals of the process as messages on the loop.

internal import CSupport
internal import Glibc

/// Receives the given signals through a signalfd instead of handlers.
@Loop
public final class Signals {
  private var fd: Descriptor?
  private var watch: Watch?

  /// Blocks the signals for the calling thread. To be called on the main thread before another one starts, so that
  /// no thread is left on which the default disposition could strike.
  public nonisolated static func block(_ signals: [Int32]) {
    var set = sigset_t()
    sigemptyset(&set)
    for signal in signals { sigaddset(&set, signal) }
    pthread_sigmask(SIG_BLOCK, &set, nil)
    // A peer that has gone is an error of one write, never the end of the process.
    Glibc.signal(SIGPIPE, SIG_IGN)
  }

  /// Whether the process was started with this signal ignored, as nohup(1) does with SIGHUP.
  public nonisolated static func isIgnored(_ signal: Int32) -> Bool {
    var action = sigaction()
    guard sigaction(signal, nil, &action) == 0 else { return false }
    // SIG_IGN is the address 1, which Swift cannot compare as a function.
    return unsafeBitCast(action.__sigaction_handler.sa_handler, to: UInt.self) == 1
  }

  /// - Parameters:
  ///   - signals: what to receive.
  ///   - handler: called on the loop once for each.
  public init(_ signals: [Int32], _ handler: @escaping @Loop (Int32) -> Void) throws(SystemError) {
    let raw = try SystemError.check("signalfd", agentd_signalfd(signals, UInt32(signals.count)))
    fd = Descriptor(owning: raw)
    watch = try Watch(raw, .read) { _ in
      while true {
        let signal = agentd_signalfd_read(raw)
        guard signal > 0 else { break }
        handler(signal)
      }
    }
  }

  isolated deinit { close() }

  /// Stops receiving. The signals stay blocked.
  public func close() {
    watch?.close()
    watch = nil
    fd = nil
  }
}
