// The floor: a server that does nothing but send back what it is sent, on epoll.

import BenchmarkSupport
import Glibc

/// Sends back whatever comes, until it is killed.
struct EchoServer {
  let path: String

  func serve() throws {
    let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
    let listener = try checked("socket", socket(AF_UNIX, kind, 0))
    try withAddress(path) { try checked("bind \(path)", bind(listener, $0, $1)) }
    try checked("listen", listen(listener, 1024))
    let epoll = try checked("epoll_create1", epoll_create1(0))
    func add(_ descriptor: Int32) throws {
      var event = epoll_event(
        events: EPOLLIN.rawValue | EPOLLET.rawValue, data: epoll_data_t(fd: descriptor))
      try checked("epoll_ctl", epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event))
    }
    try add(listener)
    print("listening")
    var events = [epoll_event](repeating: epoll_event(), count: 256)
    var buffer = [UInt8](repeating: 0, count: 1 << 12)
    while true {
      let ready = epoll_wait(epoll, &events, Int32(events.count), -1)
      for event in events[..<Int(max(ready, 0))] {
        guard event.data.fd == listener else {
          answer(event.data.fd, &buffer)
          continue
        }
        while case let accepted = accept4(listener, nil, nil, Int32(SOCK_NONBLOCK.rawValue)), accepted >= 0 {
          try add(accepted)
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
      _ = write(socket, buffer, count)
    }
  }
}
