// Being the only daemon of a configuration: what is claimed, what is refused, and what is left afterwards.

import Glibc
import Profiles
import Reactor
import Synchronization
import TestSupport
import Testing

@testable import Daemon

@Suite("Instance")
struct InstanceTests {
  init() { LoopThread.start() }

  private let scratch = Scratch()
  private var directory: String { "\(scratch.path)/run/agentd" }
  private var socketPath: String { "\(directory)/agentd.sock" }
  private var pidFile: String { "\(directory)/agentd.pid" }
  private var settings: DaemonSettings {
    DaemonSettings(
      socketPath: socketPath, pidFile: pidFile, auditRoot: "\(scratch.path)/audit", capacity: testCapacity)
  }

  /// Why a claim is refused; nil when it is not.
  private func refusal(_ settings: DaemonSettings? = nil) -> String? {
    do throws(StartFailure) {
      try Instance(claiming: settings ?? self.settings).resign()
      return nil
    } catch {
      return error.description
    }
  }

  private func makeDirectory(mode: mode_t = 0o700) throws {
    let instance = try Instance(claiming: settings)
    instance.resign()
    #expect(chmod(directory, mode) == 0)
  }

  @Test(
    "its id is the beginning of SHA-256 over the socket's path, a NUL and the pid file's path",
    arguments: [
      ("/run/agentd", "5db2e09b"),
      ("/run/user/1000/agentd", "42a3e4bd"),
    ])
  func id(directory: String, id: String) {
    defer { scratch.remove() }
    // printf '%s\0%s' /run/agentd/agentd.sock /run/agentd/agentd.pid | sha256sum
    let settings = DaemonSettings(
      socketPath: "\(directory)/agentd.sock", pidFile: "\(directory)/agentd.pid", auditRoot: "/elsewhere",
      capacity: testCapacity)
    #expect(Instance.id(settings) == id)
  }

  @Test("either path makes another id, wherever one ends and the other begins")
  func otherIDs() {
    defer { scratch.remove() }
    func id(_ socket: String, _ pid: String) -> String {
      Instance.id(DaemonSettings(socketPath: socket, pidFile: pid, auditRoot: "/a", capacity: testCapacity))
    }
    #expect(Set([id("/a", "/b"), id("/a", "/c"), id("/c", "/b"), id("/a/b", ""), id("", "/a/b")]).count == 5)
  }

  @Test("its directories are made for the owner only, and the pid file holds the pid")
  func makes() throws {
    defer { scratch.remove() }
    let instance = try Instance(claiming: settings)
    #expect(mode(of: directory) == 0o700)
    #expect(instance.runtimeDirectory == "\(directory)/\(instance.id)")
    #expect(mode(of: instance.runtimeDirectory) == 0o700)
    #expect(mode(of: pidFile) == 0o600)
    #expect(try contents(of: pidFile) == "\(getpid())\n")
    instance.resign()
  }

  @Test("giving up leaves nothing but the directory, and the next claim is granted")
  func resigns() throws {
    defer { scratch.remove() }
    for _ in 0..<3 {
      let instance = try Instance(claiming: settings)
      instance.resign()
      #expect(!exists(pidFile))
      #expect(!exists(socketPath))
      #expect(!exists(instance.runtimeDirectory))
    }
  }

  @Test("a session's private directory outlives its daemon")
  func keepsSessions() throws {
    defer { scratch.remove() }
    let instance = try Instance(claiming: settings)
    let session = "\(instance.runtimeDirectory)/0123456789abcdef"
    #expect(mkdir(session, 0o700) == 0)
    instance.resign()
    #expect(exists(session))
  }

  @Test("a second claim is refused and told the pid")
  func second() throws {
    defer { scratch.remove() }
    let instance = try Instance(claiming: settings)
    let sentence = "Another daemon runs with this configuration (pid \(getpid()), \(pidFile)): stop it first."
    #expect(refusal() == sentence)
    // The refused one has touched nothing.
    #expect(refusal() == sentence)
    #expect(try contents(of: pidFile) == "\(getpid())\n")
    instance.resign()
  }

  @Test("a pid file that nobody holds any more is taken over, whatever is in it")
  func stalePidFile() throws {
    defer { scratch.remove() }
    try makeDirectory()
    try write("1234567890 and more than a pid\n", to: pidFile)
    let instance = try Instance(claiming: settings)
    #expect(try contents(of: pidFile) == "\(getpid())\n")
    instance.resign()
  }

  @Test("a pid file that is a symbolic link is refused and what it points to is untouched")
  func linkedPidFile() throws {
    defer { scratch.remove() }
    try makeDirectory()
    let target = "\(scratch.path)/target"
    try write("mine", to: target)
    #expect(symlink(target, pidFile) == 0)
    #expect(refusal()?.hasPrefix("The pid file \(pidFile) cannot be opened: ") == true)
    #expect(try contents(of: target) == "mine")
  }

  @Test("the socket of a daemon that died is replaced")
  func staleSocket() throws {
    defer { scratch.remove() }
    try makeDirectory()
    try withBoundSocket(socketPath)
    #expect(exists(socketPath))
    let instance = try Instance(claiming: settings)
    #expect(!exists(socketPath))
    instance.resign()
  }

  @Test("a socket on which somebody listens is refused and left, and no pid file stays behind") @Loop
  func liveSocket() async throws {
    defer { scratch.remove() }
    try makeDirectory()
    let other = try Listener(path: socketPath, onExhaustion: { _ in }, onConnection: { _, _ in })
    #expect(
      refusal()
        == "Another program listens at \(socketPath): stop it, or choose another socket_path.")
    #expect(exists(socketPath))
    #expect(!exists(pidFile))
    #expect(UnixSocket.probe(socketPath, patience: 0) == .somebody)
    other.close()
  }

  @Test("a live socket of another type is somebody's, too")
  func datagramSocket() throws {
    defer { scratch.remove() }
    try makeDirectory()
    try withBoundSocket(socketPath, type: SOCK_DGRAM) {
      #expect(refusal()?.hasPrefix("Another program listens at") == true)
    }
    #expect(exists(socketPath))
  }

  @Test("who took the socket's place since the claim keeps it") @Loop
  func resignsOthersSocket() throws {
    defer { scratch.remove() }
    let instance = try Instance(claiming: settings)
    let other = try Listener(path: socketPath, onExhaustion: { _ in }, onConnection: { _, _ in })
    instance.resign()
    #expect(exists(socketPath))
    #expect(!exists(pidFile))
    other.close()
  }

  @Test("a file at the socket's path is refused and left", arguments: ["file", "directory", "link"])
  func fileAtSocketPath(kind: String) throws {
    defer { scratch.remove() }
    try makeDirectory()
    switch kind {
    case "file": try write("mine", to: socketPath)
    case "directory": #expect(mkdir(socketPath, 0o700) == 0)
    default: #expect(symlink("/nowhere", socketPath) == 0)
    }
    #expect(
      refusal() == "\(socketPath) exists and is not a socket: remove it, or choose another socket_path.")
    #expect(exists(socketPath))
    #expect(!exists(pidFile))
  }

  @Test("a directory that others may write to is refused", arguments: [0o777, 0o775, 0o722] as [mode_t])
  func openDirectory(_ open: mode_t) throws {
    defer { scratch.remove() }
    try makeDirectory(mode: open)
    #expect(
      refusal()
        == "Others may write to the directory \(directory), and could replace the daemon's socket: "
        + "give it to the daemon's user with mode 0700, or choose another path.")
    #expect(!exists(pidFile))
  }

  @Test(
    "a directory in which others cannot replace what is ours will do", arguments: [0o755, 0o1777] as [mode_t])
  func closedDirectory(_ closed: mode_t) throws {
    defer { scratch.remove() }
    try makeDirectory(mode: closed)
    #expect(refusal() == nil)
    #expect(mode(of: directory) == closed)
  }

  @Test("another user's directory is refused")
  func othersDirectory() throws {
    defer { scratch.remove() }
    try #require(geteuid() == 0, "this test needs root, to give a directory away")
    try makeDirectory()
    #expect(chown(directory, 65534, 65534) == 0)
    #expect(refusal()?.hasPrefix("Others may write to the directory \(directory)") == true)
  }

  @Test("a file where a directory should be is told")
  func fileAsDirectory() throws {
    defer { scratch.remove() }
    let file = "\(scratch.path)/file"
    try write("", to: file)
    let inside = DaemonSettings(
      socketPath: "\(file)/s", pidFile: pidFile, auditRoot: "/a", capacity: testCapacity)
    #expect(refusal(inside) == "\(file) is not a directory: remove it, or choose another path.")
    let below = DaemonSettings(
      socketPath: "\(file)/below/s", pidFile: pidFile, auditRoot: "/a", capacity: testCapacity)
    #expect(refusal(below)?.hasPrefix("The directory \(file)/below cannot be made: ") == true)
  }

  @Test("however claims and resignations race, there is one daemon at a time")
  func race() async throws {
    defer { scratch.remove() }
    // On threads of their own: each blocks, and together they meet every moment between open, lock and unlink.
    let count = Count()
    await withTaskGroup { group in
      for _ in 0..<8 {
        group.addTask { [settings] in
          for _ in 0..<200 {
            guard let instance = try? Instance(claiming: settings) else { continue }
            #expect(count.inside.add(1, ordering: .relaxed).newValue == 1)
            count.claims.add(1, ordering: .relaxed)
            count.inside.subtract(1, ordering: .relaxed)
            instance.resign()
          }
        }
      }
    }
    #expect(count.claims.load(ordering: .relaxed) > 0)
    #expect(!exists(pidFile))
    #expect(refusal() == nil)
  }
}

private final class Count: Sendable {
  let inside = Atomic<Int>(0)
  let claims = Atomic<Int>(0)
}
