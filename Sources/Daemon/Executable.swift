// Where a program is, by PATH.

internal import Glibc

/// Finds programs the way a shell does.
public enum Executable {
  /// The absolute path of the first executable file of this name in `path`.
  public static func find(_ name: String, in path: String) -> String? {
    for directory in path.split(separator: ":") where directory.hasPrefix("/") {
      let candidate = "\(directory)/\(name)"
      var status = stat()
      if access(candidate, X_OK) == 0, stat(candidate, &status) == 0, status.st_mode & S_IFMT == S_IFREG {
        return candidate
      }
    }
    return nil
  }
}
