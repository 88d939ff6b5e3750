// The floor: a server that does nothing but send back what it is sent, on epoll.

import BenchmarkSupport
import CEpoll
import Glibc

/// Sends back whatever comes, until it is killed.
struct EchoServer {
  let path: String

  func serve() throws {
    let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
    let listener = try checked("socket", socket(AF_UNIX, kind, 0))
    try withAddress(path) { try checked("bind \(path)", bind(listener, $0, $1)) }
    try checked("listen", listen(listener, 1024))
    let epoll = try checked("epoll_create1", epoll_open())
    try checked("epoll_ctl", epoll_add(epoll, listener, true))
    print("listening")
    var ready = [Int32](repeating: 0, count: 256)
    var buffer = [UInt8](repeating: 0, count: 1 << 12)
    while true {
      let count = epoll_next(epoll, &ready, Int32(ready.count))
      for descriptor in ready[..<Int(max(count, 0))] {
        guard descriptor == listener else {
          answer(descriptor, &buffer)
          continue
        }
        while case let accepted = accept(listener, nil, nil), accepted >= 0 {
          try checked("fcntl", fcntl(accepted, F_SETFL, O_NONBLOCK))
          try checked("epoll_ctl", epoll_add(epoll, accepted, true))
        }
      }
    }
  }

  private func answer(_ socket: Int32, _ buffer: inout [UInt8]) {
    while true {
      let count = read(socket, &buffer, buffer.count)
      guard count > 0 else {
        if count == 0 { close(socket) }
        return
      }
      // A client that has gone is no reason to end.
      _ = send(socket, buffer, count, Int32(MSG_NOSIGNAL))
    }
  }
}
