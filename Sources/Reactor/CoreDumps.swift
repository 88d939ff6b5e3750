// Keeping what is in memory out of files.

internal import Glibc

/// What a crash leaves behind.
public enum CoreDumps {
  /// No core file: it would hold every secret of the process. Children inherit the soft limit and may raise it.
  public static func disable() {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &limit) == 0 else { return }
    limit.rlim_cur = 0
    setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &limit)
  }
}
