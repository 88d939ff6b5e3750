// What all tests of a process stand on: one directory, and a guardian that clears up when the process is gone.

import CSupport
import Glibc

enum Ground {
  /// A directory of this process, removed by the guardian. Short, because sockets are made below it.
  static let directory = make(in: getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp")

  /// The same for runtime directories: in memory, as they are where agentd is installed. The tests of the service have
  /// theirs on a disk.
  static let runtime = make(in: access("/dev/shm", W_OK) == 0 ? "/dev/shm" : directory)

  private static func make(in parent: String) -> String {
    var template = Array("\(parent)/agentd-e2e-XXXXXX".utf8CString)
    guard let made = mkdtemp(&template) else { fatalError("mkdtemp under \(parent) fails: errno \(errno)") }
    return String(cString: made)
  }

  /// Where the output of programs goes that belong to no test.
  static let tools: String = {
    let path = "\(directory)/tools"
    mkdir(path, 0o700)
    return path
  }()

  /// Ends every registered program and removes the directories when this process ends, however it ends: the
  /// other end of its stdin is closed then.
  private static let guardian: Int32 = {
    let script = #"""
      live=' '
      while read -r sign pid; do
        case $sign in
          +) live="$live$pid " ;;
          -) live="${live%% "$pid" *} ${live#* "$pid" }" ;;
        esac
      done
      for pid in $live; do kill -KILL "-$pid" 2>/dev/null; done
      rm -rf "$@" 2>/dev/null || podman unshare rm -rf "$@"
      """#
    var ends: [Int32] = [-1, -1]
    // No program that the tests start inherits a descriptor beyond its three.
    guard pipe(&ends) == 0 else { fatalError("pipe: errno \(errno)") }
    var pid: Int32 = 0
    var pidfd: Int32 = -1
    let result = withCStrings(["sh", "-c", script, "guardian", directory, runtime]) { arguments in
      withCStrings(Host.environment.map { "\($0)=\($1)" }) { environment in
        agentd_spawn("/bin/sh", arguments, environment, [ends[0], -1, -1], &pid, &pidfd)
      }
    }
    guard result == 0 else { fatalError("the guardian does not start: errno \(-result)") }
    close(ends[0])
    return ends[1]
  }()

  /// The guardian is to end this process group if it still lives at the end.
  static func register(_ pid: Int32) { tell("+ \(pid)\n") }

  /// The process is reaped: its number may become another's.
  static func forget(_ pid: Int32) { tell("- \(pid)\n") }

  private static func tell(_ line: String) {
    // Shorter than PIPE_BUF: a line is written whole.
    let bytes = Array(line.utf8)
    guard write(guardian, bytes, bytes.count) == bytes.count else { fatalError("the guardian is gone") }
  }
}

/// Calls `body` with the strings as a C array that ends with a null pointer.
func withCStrings<Result>(
  _ strings: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> Result
) -> Result {
  let pointers = strings.map { strdup($0) }
  defer { for pointer in pointers { free(pointer) } }
  return body(pointers + [nil])
}
