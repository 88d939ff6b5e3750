// Which directories are in memory, so that using them waits for no disk.

internal import CSupport

/// A file system without a disk.
public enum MemoryFileSystem {
  /// Whether what is below `path` is in a tmpfs or a ramfs. A path that cannot be asked about counts as on a disk.
  public static func holds(_ path: String) -> Bool { agentd_is_in_memory(path) != 0 }
}
