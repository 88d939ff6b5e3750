// The load: connections that each send a line, wait for the answer, and send again.

import BenchmarkSupport
import CEpoll
import Glibc
import Histogram

/// One run of the load against one server.
struct PingLoad {
  static let connectionCount = 100
  private static let warmUp: Int64 = 300_000_000
  private static let length: Int64 = 3_000_000_000

  struct Result: CustomStringConvertible {
    /// Answers a second.
    let rate: Double
    /// From sending to the answer, in nanoseconds.
    let latency: Histogram<UInt32>
    /// What the server used of a processor for each answer, in nanoseconds.
    let serverTime: Double

    var description: String {
      func milliseconds(_ percentile: Double) -> String {
        decimal(Double(latency.valueAtPercentile(percentile)) / 1_000_000) + " ms"
      }
      return
        "\(decimal(rate, 0)) a second, p50 \(milliseconds(50)), p99 \(milliseconds(99)), max \(milliseconds(100)), "
        + "\(decimal(serverTime / 1000, 1)) us of the server's processor each"
    }
  }

  let path: String
  let line: [UInt8]

  func run() throws -> Result {
    let sockets = try (0..<Self.connectionCount).map { _ in try connected(to: path) }
    defer { for socket in sockets { close(socket) } }
    let server = try peer(of: sockets[0])
    let epoll = try checked("epoll_create1", epoll_open())
    defer { close(epoll) }
    var sent = [Int64](repeating: 0, count: Int(sockets.max() ?? 0) + 1)
    for socket in sockets {
      try checked("epoll_ctl", epoll_add(epoll, socket, false))
      sent[Int(socket)] = try send(on: socket)
    }
    var latency = Histogram<UInt32>(
      highestTrackableValue: 10_000_000_000, numberOfSignificantValueDigits: .three)
    var ready = [Int32](repeating: 0, count: Self.connectionCount)
    var buffer = [UInt8](repeating: 0, count: 1 << 12)
    var count = 0
    var measuredFrom: (time: Int64, used: Int64)?
    let start = now()
    while true {
      let arrived = try checked("epoll_wait", epoll_next(epoll, &ready, Int32(ready.count)))
      let moment = now()
      if measuredFrom == nil, moment - start > Self.warmUp {
        measuredFrom = (moment, processTime(of: server))
      }
      if let from = measuredFrom, moment - from.time > Self.length {
        let used = processTime(of: server) - from.used
        return Result(
          rate: Double(count) / Double(moment - from.time) * 1e9, latency: latency,
          serverTime: Double(used) / Double(count))
      }
      for socket in ready[..<Int(arrived)] {
        let length = try checked("read", read(socket, &buffer, buffer.count))
        // An answer is shorter than what a Unix socket hands over in one piece.
        guard length > 0, buffer[length - 1] == UInt8(ascii: "\n") else {
          throw CallFailed("read: no whole answer")
        }
        if measuredFrom != nil {
          count += 1
          latency.record(UInt64(now() - sent[Int(socket)]))
        }
        sent[Int(socket)] = try send(on: socket)
      }
    }
  }

  private func send(on socket: Int32) throws -> Int64 {
    let moment = now()
    guard try checked("write", write(socket, line, line.count)) == line.count else {
      throw CallFailed("write: not all of it")
    }
    return moment
  }
}
