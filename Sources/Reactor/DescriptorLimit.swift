// The process's own allowance of descriptors.

internal import Glibc

/// The limit on open files of this process.
public enum DescriptorLimit {
  /// Enough for the most sessions and clients that may be at once: where the kernel cannot keep the pidfds of live sessions
  /// for us, two for each of 10,000, one for each of 40,000 that follow a session, and a few hundred others.
  private static let wanted: rlim_t = 65536

  /// Raises the soft limit as far as it is of use and the hard limit lets it; children inherit it.
  public static func raise() {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
    let target = min(limit.rlim_max, wanted)
    guard limit.rlim_cur < target else { return }
    limit.rlim_cur = target
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
  }
}
