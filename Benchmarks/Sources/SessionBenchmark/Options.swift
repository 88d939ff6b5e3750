// What the benchmark is told by run.sh.

import Glibc

/// A sentence for whoever started the benchmark.
struct Complaint: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

struct Options {
  enum Engine: String {
    case stub
    case podman
  }

  var engine = Engine.stub
  /// How many sessions at once, one measurement each.
  var sessions: [Int] = []
  /// How often a crowd of the smallest number is repeated in one daemon.
  var rounds = 10
  /// The daemon's binary.
  var agentd = ""
  /// The folder with the tools that a shell lacks, under their names.
  var tools = ""
  /// The folder whose `podman` the daemon is to find.
  var podman = ""
  /// Where `programtimes` writes what the kernel knows of podman's processes; nil where it may not ask.
  var times: String?
  /// floor.sh.
  var floor = ""
  /// A folder of our own.
  var scratch = ""
  /// A folder of our own for runtime directories, which is in memory as they are everywhere.
  var runtime = ""
  /// Where tables, JSON and plots go.
  var out = ""
  var image = "localhost/never-started:latest"
  var repository = "git://127.0.0.1:9/none.git"
  /// What the machine is, in words.
  var machine = ""

  init(_ words: some Sequence<String>) throws {
    var words = words.makeIterator()
    while let option = words.next() {
      guard let value = words.next() else { throw Complaint("\(option) needs a value") }
      switch option {
      case "--engine":
        guard let engine = Engine(rawValue: value) else { throw Complaint("--engine is stub or podman") }
        self.engine = engine
      case "--sessions":
        sessions = try value.split(separator: ",").map {
          guard let count = Int($0), count > 0 else { throw Complaint("--sessions is a number, or some") }
          return count
        }.sorted()
      case "--rounds":
        guard let count = Int(value), count > 0 else { throw Complaint("--rounds is a number") }
        rounds = count
      case "--agentd": agentd = value
      case "--tools": tools = value
      case "--podman": podman = value
      case "--times": times = value
      case "--floor": floor = value
      case "--scratch": scratch = value
      case "--runtime": runtime = value
      case "--out": out = value
      case "--image": image = value
      case "--repository": repository = value
      case "--machine": machine = value
      default: throw Complaint("there is no option \(option)")
      }
    }
    guard !agentd.isEmpty, !tools.isEmpty, !podman.isEmpty, !scratch.isEmpty, !runtime.isEmpty, !out.isEmpty,
      !sessions.isEmpty
    else { throw Complaint("this is run by Benchmarks/run.sh") }
  }
}
