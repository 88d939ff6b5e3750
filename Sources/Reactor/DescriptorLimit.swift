// The process's own allowance of descriptors.

internal import Glibc

/// The limit on open files of this process.
public enum DescriptorLimit {
  /// Far more than the sessions and clients that are allowed at once.
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
