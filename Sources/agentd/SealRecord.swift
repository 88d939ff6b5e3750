// agentd seal-record: seals one record, inside the user namespace of rootless Podman. Not for operators.

internal import ArgumentParser
internal import Audit
internal import Glibc

struct SealRecord: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "seal-record", abstract: "Make the files of one audit record read-only.",
    shouldDisplay: false)

  /// The words that run this verb: the very program that runs now, even when its file has been replaced since.
  static var words: [String] { ["/proc/\(getpid())/exe", "seal-record"] }

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
