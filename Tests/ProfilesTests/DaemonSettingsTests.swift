// The [daemon] table: its defaults for root and for others, relative paths, and what is refused.

import Profiles
import Testing

@Suite("The daemon's settings")
struct DaemonSettingsTests {
  private func settings(
    _ daemon: String = "", _ environment: [String: String], effectiveUserID: UInt32 = 0
  ) throws -> DaemonSettings {
    let host = testHost(environment: environment, effectiveUserID: effectiveUserID)
    return try configuration("[daemon]\n\(daemon)\n" + profile(), host: host).daemon
  }

  @Test("root listens in /run/agentd whatever XDG_RUNTIME_DIR says")
  func root() throws {
    let settings = try settings("", ["HOME": "/root", "XDG_RUNTIME_DIR": "/run/user/0"])
    #expect(settings.socketPath == "/run/agentd/agentd.sock")
    #expect(settings.pidFile == "/run/agentd/agentd.pid")
  }

  @Test("mirrors are in /var/cache/agentd for root, and in the cache of others")
  func cache() throws {
    let home = ["HOME": "/home/core"]
    let both = ["HOME": "/home/core", "XDG_CACHE_HOME": "/cache"]
    #expect(try settings("", both).cacheRoot == "/var/cache/agentd")
    #expect(try settings("", both, effectiveUserID: 1000).cacheRoot == "/cache/agentd")
    #expect(try settings("", home, effectiveUserID: 1000).cacheRoot == "/home/core/.cache/agentd")
    #expect(try settings("audit_root = '/a'", [:], effectiveUserID: 1000).cacheRoot == "/var/cache/agentd")
    #expect(try settings("cache_root = '/srv/mirrors'", both).cacheRoot == "/srv/mirrors")
  }

  @Test("mirrors are kept for thirty days, or as long as is said")
  func maxAge() throws {
    #expect(try settings("", ["HOME": "/root"]).cacheMaxAge == .seconds(30 * 86400))
    #expect(try settings("cache_max_age = '12h'", ["HOME": "/root"]).cacheMaxAge == .seconds(12 * 3600))
    for text in ["0s", "a week", "-1d", "30"] {
      let found = complaints("[daemon]\ncache_max_age = '\(text)'\n" + profile())
      #expect(
        found == [
          "daemon.cache_max_age: \"\(text)\" is not a duration longer than nothing; write one like 30d or 12h"
        ])
    }
  }

  @Test("others listen in $XDG_RUNTIME_DIR/agentd")
  func others() throws {
    let environment = ["HOME": "/home/core", "XDG_RUNTIME_DIR": "/run/user/1000"]
    let settings = try settings("", environment, effectiveUserID: 1000)
    #expect(settings.socketPath == "/run/user/1000/agentd/agentd.sock")
    #expect(settings.pidFile == "/run/user/1000/agentd/agentd.pid")
  }

  @Test(
    "others listen in /run/agentd when XDG_RUNTIME_DIR is no absolute path", arguments: ["", "run/user", nil])
  func othersWithoutRuntimeDirectory(value: String?) throws {
    var environment = ["HOME": "/home/core"]
    environment["XDG_RUNTIME_DIR"] = value
    #expect(try settings("", environment, effectiveUserID: 1000).socketPath == "/run/agentd/agentd.sock")
  }

  @Test("records go to XDG_STATE_HOME, or else below HOME")
  func auditRoot() throws {
    #expect(
      try settings("", ["XDG_STATE_HOME": "/state", "HOME": "/home/core"]).auditRoot
        == "/state/tesserine/audit")
    #expect(try settings("", ["HOME": "/home/core"]).auditRoot == "/home/core/.local/state/tesserine/audit")
  }

  @Test("a relative or empty XDG_STATE_HOME counts as unset", arguments: ["state", "./state", ""])
  func relativeStateHome(value: String) throws {
    #expect(
      try settings("", ["XDG_STATE_HOME": value, "HOME": "/h"]).auditRoot == "/h/.local/state/tesserine/audit"
    )
  }

  @Test(
    "without a place for records, it says what to set", arguments: [[:], ["HOME": ""], ["HOME": "relative"]])
  func noPlaceForRecords(environment: [String: String]) {
    let complaints = complaints(profile(), host: testHost(environment: environment))
    #expect(complaints.count == 1)
    #expect(complaints.first?.hasPrefix("daemon.audit_root: has no default") == true)
    #expect(complaints.first?.contains("set audit_root or one of these variables") == true)
  }

  @Test("audit_root needs neither variable")
  func explicitAuditRoot() throws {
    #expect(try settings("audit_root = '/audit'", [:]).auditRoot == "/audit")
  }

  @Test("relative paths are relative to the configuration file's folder")
  func relativePaths() throws {
    let settings = try settings("socket_path = 'a/s'\npid_file = './p'\naudit_root = '../audit'", [:])
    #expect(settings.socketPath == "/etc/agentd/a/s")
    #expect(settings.pidFile == "/etc/agentd/p")
    #expect(settings.auditRoot == "/etc/audit")
  }

  @Test("a configuration file named by a relative path lies in the working directory")
  func relativeFile() throws {
    let text = "[daemon]\nsocket_path = 's'\n" + profile()
    let configuration = try Configuration.parse(text, path: "conf/agentd.toml", host: testHost())
    #expect(configuration.path == "/srv/here/conf/agentd.toml")
    #expect(configuration.daemon.socketPath == "/srv/here/conf/s")
  }

  @Test("a socket path has at most 107 bytes")
  func socketPathLimit() throws {
    let longest = "/" + String(repeating: "s", count: 106)
    #expect(try settings("socket_path = '\(longest)'", ["HOME": "/h"]).socketPath == longest)
    let complaints = complaints("[daemon]\nsocket_path = '\(longest)s'\n" + profile())
    #expect(complaints.count == 1)
    #expect(complaints.first?.contains("longer than the 107 bytes") == true)
  }

  @Test(
    "refuses what is not a path",
    arguments: [
      ("socket_path = ''", "daemon.socket_path: must not be empty"),
      ("socket_path = 5", "daemon.socket_path: must be a string, not an integer"),
      ("pid_file = true", "daemon.pid_file: must be a string, not a boolean"),
      ("audit_root = ['/a']", "daemon.audit_root: must be a string, not an array"),
      ("pid_file = \"/run/a\\nb\"", "daemon.pid_file: \"/run/a\\u{a}b\" must not hold a control character"),
      (
        "audit_root = '/a:b'",
        "daemon.audit_root: \"/a:b\" holds a colon, at which conmon would cut its log's path"
      ),
      ("pid_file = '/run/agentd/agentd.sock'", "daemon.pid_file: is the same file as socket_path"),
      (
        "socket = '/s'",
        "-: unknown key \"socket\"; take it out; known here: socket_path, pid_file, audit_root, cache_root, cache_max_age, max_sessions, "
          + "queue_limit, max_podman_processes"
      ),
      ("socketpath = '/s'", "-: unknown key \"socketpath\"; did you mean socket_path?"),
    ])
  func refusals(line: String, start: String) {
    let complaints = complaints("[daemon]\n\(line)\n" + profile())
    #expect(complaints.count == 1)
    #expect(complaints.first?.hasPrefix(start) == true, "\(complaints)")
  }

  @Test(
    "an audit root may hold a comma, a blank or a quotation mark",
    arguments: ["/a,b", "/a b", "/a\"b", "/a,\"b c"])
  func oddAuditRoots(path: String) throws {
    #expect(try settings("audit_root = '\(path)'", [:]).auditRoot == path)
  }

  @Test("a path of more than 4095 bytes is refused")
  func pathLimit() {
    let complaints = complaints(
      "[daemon]\npid_file = '/\(String(repeating: "p", count: 4095))'\n" + profile())
    #expect(complaints.count == 1)
    #expect(complaints.first?.contains("longer than 4095 bytes") == true)
  }

  @Test(
    "how much is done at once goes by the machine",
    arguments: [
      (cores: 1, gigabytes: 1, sessions: 4, processes: 2), (2, 64, 32, 4), (2, 4, 8, 4), (4, 8, 16, 8),
      (64, 512, 1024, 16), (1024, 100_000, 10_000, 16),
    ])
  func capacity(cores: Int, gigabytes: UInt64, sessions: Int, processes: Int) throws {
    var host = testHost()
    host.cores = cores
    host.memory = gigabytes << 30
    let capacity = try configuration(profile(), host: host).daemon.capacity
    #expect(capacity == Capacity(sessions: sessions, queue: 1000, podmanProcesses: processes))
  }

  @Test("how much is done at once can be set, also beyond what the machine suggests")
  func configuredCapacity() throws {
    let settings = try settings(
      "max_sessions = 10_000\nqueue_limit = 0\nmax_podman_processes = 1", ["HOME": "/h"])
    #expect(settings.capacity == Capacity(sessions: 10_000, queue: 0, podmanProcesses: 1))
  }

  @Test(
    "refuses bounds that are none",
    arguments: [
      ("max_sessions = 0", "daemon.max_sessions: must be 1 to 10000, not 0"),
      ("max_sessions = 10_001", "daemon.max_sessions: must be 1 to 10000, not 10001"),
      ("max_sessions = '5'", "daemon.max_sessions: must be an integer, not a string"),
      ("queue_limit = -1", "daemon.queue_limit: must be 0 to 10000, not -1"),
      ("queue_limit = 1.5", "daemon.queue_limit: must be an integer, not a floating-point number"),
      ("max_podman_processes = 0", "daemon.max_podman_processes: must be 1 to 256, not 0"),
      (
        "max_sessions = 9223372036854775807",
        "daemon.max_sessions: must be 1 to 10000, not 9223372036854775807"
      ),
    ])
  func refusedCapacity(line: String, complaint: String) {
    #expect(complaints("[daemon]\n\(line)\n" + profile()) == [complaint])
  }

  @Test("daemon that is no table is refused")
  func noTable() {
    #expect(
      complaints("daemon = 'x'\n" + profile()) == [
        "daemon: must be a table, not a string; begin it with [daemon]"
      ])
  }
}
