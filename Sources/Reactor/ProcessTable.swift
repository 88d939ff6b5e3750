// What /proc tells of processes that nobody holds yet.

internal import Glibc

extension Process {
  /// The most bytes of a command line that are read: Linux gives a program 2 MiB for its words and variables.
  private nonisolated static let commandLineLimit = 2 << 20
  /// The most bytes of a cgroup file: a line for each of the kernel's controllers.
  private nonisolated static let cgroupLimit = 1 << 16

  /// The words a process was started with; nil when there is no such process or it has ended.
  public nonisolated static func arguments(of pid: Int32) -> [String]? {
    guard let bytes = KernelFile.read("/proc/\(pid)/cmdline", limit: commandLineLimit), !bytes.isEmpty else {
      return nil
    }
    return bytes.split(separator: 0, omittingEmptySubsequences: false).dropLast().map {
      String(decoding: $0, as: UTF8.self)
    }
  }

  /// Whether one of the variables that a process was started with, as NAME=value, is wanted. Variables beyond 2 MiB are
  /// not looked at; a process that has ended has none, nor one in the moment in which it becomes another program.
  public nonisolated static func environment(
    of pid: Int32, holds isWanted: (ArraySlice<UInt8>) -> Bool
  ) -> Bool {
    guard let bytes = KernelFile.read("/proc/\(pid)/environ", limit: commandLineLimit) else { return false }
    var rest = bytes[...]
    while let end = rest.firstIndex(of: 0) {
      if isWanted(rest[..<end]) { return true }
      rest = rest[(end + 1)...]
    }
    return false
  }

  /// Whether the name of one of the process's cgroups holds this text (cgroups(7)).
  public nonisolated static func cgroup(of pid: Int32, holds text: String) -> Bool {
    guard let bytes = KernelFile.read("/proc/\(pid)/cgroup", limit: cgroupLimit) else { return false }
    return String(decoding: bytes, as: UTF8.self).contains(text)
  }

  /// The processes of a user now, with the words they were started with. Reads all of /proc: call it on the worker.
  public nonisolated static func all(of user: UInt32) -> [(pid: Int32, arguments: [String])] {
    numbers(of: user).compactMap { pid in arguments(of: pid).map { (pid, $0) } }
  }

  /// The numbers of the processes of a user now. Reads all of /proc: call it on the worker.
  public nonisolated static func numbers(of user: UInt32) -> [Int32] {
    guard let directory = opendir("/proc") else { return [] }
    defer { closedir(directory) }
    var processes: [Int32] = []
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      var status = stat()
      guard let pid = Int32(name), stat("/proc/\(pid)", &status) == 0, status.st_uid == user else { continue }
      processes.append(pid)
    }
    return processes
  }

  /// The processes of a user that a process has started and those that they have, as far as none between them has gone.
  /// Reads all of /proc: call it on the worker.
  public nonisolated static func descendants(of ancestor: Int32, user: UInt32) -> [Int32] {
    let parents = all(of: user).map { (pid: $0.pid, parent: parent(of: $0.pid)) }
    var found: [Int32] = []
    var generation = [ancestor]
    while !generation.isEmpty {
      generation = parents.filter { entry in entry.parent.map { generation.contains($0) } ?? false }.map(
        \.pid
      )
      .filter { !found.contains($0) && $0 != ancestor }
      found += generation
    }
    return found
  }
}
