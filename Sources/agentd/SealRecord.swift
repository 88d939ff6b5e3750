// agentd seal-record: seals one record, inside the user namespace of rootless Podman. Not for operators.

internal import ArgumentParser
internal import Audit
internal import Glibc

struct SealRecord: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "seal-record", abstract: "Make the files of one audit record read-only.",
    shouldDisplay: false)

  /// The words that run this verb: the file of the program that runs now. By its path, because a process in a user
  /// namespace of its own may not look behind /proc/PID/exe of one outside (ptrace(2), access mode checking).
  static var words: [String] {
    // Without a name only when its file was removed, as an upgrade does before a restart: then the one on PATH.
    guard let path = realpath("/proc/self/exe", nil) else { return ["agentd", "seal-record"] }
    defer { free(path) }
    return [String(cString: path), "seal-record"]
  }

  @Argument(help: "The record's directory.")
  var record: String

  func run() throws {
    do {
      try Sealing(record: Record(path: record)).sealCompletely()
    } catch {
      Terminal.note("\(error)")
      throw ExitCode(1)
    }
  }
}
