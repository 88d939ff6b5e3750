// How large the machine is for this process.

internal import CSupport
internal import Glibc

/// The machine that the process runs on.
public enum Machine {
  /// How many processors the process may run on, at least 1. Where that was narrowed (sched_setaffinity(2)), it is for
  /// podman and for sessions, too: they inherit it.
  public static var cores: Int {
    let count = agentd_processors()
    return count > 0 ? Int(count) : max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
  }

  /// All of its memory, in bytes: what a control group grants the daemon says nothing of its sessions, which have groups
  /// of their own.
  public static var memory: UInt64 {
    UInt64(max(0, sysconf(Int32(_SC_PHYS_PAGES)))) * UInt64(max(0, sysconf(Int32(_SC_PAGESIZE))))
  }

  /// Gives memory that is not in use any more back to the kernel. What has grown for a crowd would stay otherwise. Takes
  /// about a millisecond for ten megabytes.
  public static func releaseMemory() { agentd_release_memory() }
}
