// The [daemon] table: where the daemon listens, keeps its pid file, puts its records and keeps its mirrors, and how much
// it does at once.

/// Where the daemon's own files are, and its bounds. All paths are absolute.
public struct DaemonSettings: Sendable, Equatable {
  /// The Unix socket, at most 107 bytes. Default: `agentd.sock` in `/run/agentd` as root, otherwise in
  /// `$XDG_RUNTIME_DIR/agentd` when that variable is an absolute path, else in `/run/agentd` too.
  public let socketPath: String
  /// The pid file, by default `agentd.pid` beside the default socket.
  public let pidFile: String
  /// The folder of the audit records. Default: `$XDG_STATE_HOME/tesserine/audit`, or else
  /// `$HOME/.local/state/tesserine/audit` (XDG Base Directory Specification).
  public let auditRoot: String
  /// The folder of the mirrors that sessions clone from. Default: `/var/cache/agentd` as root, otherwise
  /// `$XDG_CACHE_HOME/agentd`, or else `$HOME/.cache/agentd`, or else `/var/cache/agentd` too.
  public let cacheRoot: String
  /// How long a mirror is kept that no session has asked for.
  public let cacheMaxAge: Duration
  /// How much is done at once.
  public let capacity: Capacity

  /// How long that is unless it is set.
  public static let standardCacheMaxAge: Duration = .seconds(30 * 86400)

  /// Settings with these paths, which are taken to be absolute.
  public init(
    socketPath: String, pidFile: String, auditRoot: String, cacheRoot: String = "/var/cache/agentd",
    cacheMaxAge: Duration = standardCacheMaxAge, capacity: Capacity
  ) {
    self.socketPath = socketPath
    self.pidFile = pidFile
    self.auditRoot = auditRoot
    self.cacheRoot = cacheRoot
    self.cacheMaxAge = cacheMaxAge
    self.capacity = capacity
  }
}

extension DaemonSettings {
  private static let keys =
    ["socket_path", "pid_file", "audit_root", "cache_root", "cache_max_age"] + Capacity.keys

  /// Reads the table; nil after at least one report.
  ///
  /// - Parameters:
  ///   - section: The table, empty when the file has none.
  ///   - folder: The folder of the configuration file.
  ///   - host: What the rules need to know of the machine.
  init?(_ section: Section, folder: String, host: Host) {
    section.refuseKeys(except: Self.keys)
    let runtime = Self.runtimeDirectory(host)
    let socket = Self.path("socket_path", section, folder: folder, otherwise: "\(runtime)/agentd.sock")
    let pid = Self.path("pid_file", section, folder: folder, otherwise: "\(runtime)/agentd.pid")
    let audit = Self.auditRoot(section, folder: folder, host: host)
    let cache = Self.path("cache_root", section, folder: folder, otherwise: Self.cacheDirectory(host))
    let maxAge = Self.cacheMaxAge(section)
    if let socket, socket.utf8.count > Limits.socketPathBytes {
      section.report(
        "socket_path",
        "\(socket.quoted) is longer than the \(Limits.socketPathBytes) bytes that a socket's path may have; "
          + "use a shorter one")
    }
    if let socket, socket == pid {
      section.report("pid_file", "is the same file as socket_path; give each its own")
    }
    let capacity = Capacity(section, host: host)
    guard let socket, let pid, let audit, let cache, let maxAge, let capacity else { return nil }
    self.init(
      socketPath: socket, pidFile: pid, auditRoot: audit, cacheRoot: cache, cacheMaxAge: maxAge,
      capacity: capacity)
  }

  private static func runtimeDirectory(_ host: Host) -> String {
    if host.effectiveUserID != 0, let directory = host.directory("XDG_RUNTIME_DIR") {
      return "\(directory)/agentd"
    }
    return "/run/agentd"
  }

  private static func cacheDirectory(_ host: Host) -> String {
    guard host.effectiveUserID != 0 else { return "/var/cache/agentd" }
    let cache = host.directory("XDG_CACHE_HOME") ?? host.directory("HOME").map { "\($0)/.cache" }
    return "\(cache ?? "/var/cache")/agentd"
  }

  private static func cacheMaxAge(_ section: Section) -> Duration? {
    guard section.has("cache_max_age") else { return standardCacheMaxAge }
    guard let text = section.filledString("cache_max_age") else { return nil }
    guard let age = Duration(written: text), age > .zero else {
      section.report(
        "cache_max_age", "\(text.quoted) is not a duration longer than nothing; write one like 30d or 12h")
      return nil
    }
    return age
  }

  private static func auditRoot(_ section: Section, folder: String, host: Host) -> String? {
    let state = host.directory("XDG_STATE_HOME") ?? host.directory("HOME").map { "\($0)/.local/state" }
    if state == nil, !section.has("audit_root") {
      section.report(
        "audit_root",
        "has no default, since neither XDG_STATE_HOME nor HOME is set to an absolute path; "
          + "set audit_root or one of these variables")
      return nil
    }
    guard
      let path = path("audit_root", section, folder: folder, otherwise: "\(state ?? "")/tesserine/audit")
    else { return nil }
    // conmon reads "k8s-file:PATH" up to the next colon (its src/ctr_logging.c).
    guard !path.hasByte(":") else {
      section.report(
        "audit_root", "\(path.quoted) holds a colon, at which conmon would cut its log's path; use another")
      return nil
    }
    return path
  }

  private static func path(
    _ key: String, _ section: Section, folder: String, otherwise standard: String
  ) -> String? {
    var path = standard
    if section.has(key) {
      guard let text = section.filledString(key) else { return nil }
      path = text
    }
    let resolved = Path.resolve(path, against: folder)
    let complaints = Path.complaints(about: resolved)
    for complaint in complaints { section.report(key, "\(resolved.quoted) \(complaint)") }
    return complaints.isEmpty ? resolved : nil
  }
}
