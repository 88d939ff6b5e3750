// How many pings a second the daemon answers, beside a bare echo server. Fails below a bound.

import BenchmarkSupport
import Control
@preconcurrency import Glibc

@main
struct SocketBenchmark {
  /// Pings a second that one core must answer.
  static let leastRate = 20_000.0
  static let rounds = 3

  static func main() {
    setvbuf(stdout, nil, _IOLBF, 0)
    let words = Array(CommandLine.arguments.dropFirst())
    do {
      switch (words.first, words.count) {
      case ("echo", 2): try EchoServer(path: words[1]).serve()
      case ("measure", 4): exit(try measure(backend: words[1], daemon: words[2], floor: words[3]) ? 0 : 1)
      default:
        fputs("usage: SocketBenchmark echo SOCKET | measure NAME DAEMON-SOCKET ECHO-SOCKET\n", stderr)
        exit(2)
      }
    } catch {
      fputs("SocketBenchmark: \(error)\n", stderr)
      exit(1)
    }
  }

  /// Measures both in turn, prints what was seen, and tells whether it is enough.
  static func measure(backend: String, daemon: String, floor: String) throws -> Bool {
    let line = Request.ping.line
    var seen: [(daemon: PingLoad.Result, floor: PingLoad.Result)] = []
    for _ in 0..<rounds {
      let ours = try PingLoad(path: daemon, line: line).run()
      seen.append((ours, try PingLoad(path: floor, line: line).run()))
    }
    print("\(backend): \(PingLoad.connectionCount) connections, \(line.count) bytes a ping")
    for (name, results) in [("daemon", seen.map(\.daemon)), ("echo", seen.map(\.floor))] {
      for result in results { print("  \(name): \(result)") }
    }
    // Somebody else's work on the machine only ever takes away: the best round is the nearest to what it can do.
    let rate = seen.map(\.daemon.rate).max() ?? 0
    let ratios = seen.map { $0.daemon.rate / $0.floor.rate }.sorted()
    print("  ratio to the echo server: \(decimal(ratios[ratios.count / 2]))")
    guard rate >= leastRate else {
      fputs(
        "SocketBenchmark: \(decimal(rate, 0)) pings a second, where \(decimal(leastRate, 0)) are the least\n",
        stderr)
      return false
    }
    return true
  }
}
