// Listening on a Unix socket: its file, its peers, and what happens when descriptors run out.

import Glibc
import Reactor
import TestSupport
import Testing

@Suite("Listener")
struct ListenerTests {
  init() { LoopThread.start() }

  private let scratch = Scratch()
  private var path: String { "\(scratch.path)/s" }

  @Test("its file is the owner's alone, and the peer's uid is told") @Loop
  func peers() async throws {
    defer { scratch.remove() }
    let uids = Inbox<UInt32>(capacity: 3)
    let listener = try Listener(path: path, onExhaustion: { _ in }) { _, uid in uids.post(uid) }
    defer { listener.close() }
    #expect(mode(of: path) == 0o600)
    for _ in 0..<3 {
      let stream = try Stream.connect(to: path)
      #expect(await uids.next() == geteuid())
      // Whoever lets a connection go has closed it.
      #expect(try await stream.read(upTo: 1, within: .seconds(60)) == nil)
      stream.close()
    }
  }

  @Test("a path that is taken, too long or nowhere is refused with the call's name") @Loop
  func refusals() throws {
    defer { scratch.remove() }
    func refusal(_ path: String) -> String? {
      do throws(SystemError) {
        try Listener(path: path, onExhaustion: { _ in }, onConnection: { _, _ in }).close()
        return nil
      } catch {
        return error.description
      }
    }
    try write("mine", to: path)
    #expect(refusal(path) == "bind \(path): Address already in use")
    #expect(try contents(of: path) == "mine")
    #expect(refusal("/nonexistent/s") == "bind /nonexistent/s: No such file or directory")
    let longest = "\(scratch.path)/" + String(repeating: "x", count: 106 - scratch.path.utf8.count)
    #expect(longest.utf8.count == 107)
    #expect(refusal(longest) == nil)
    #expect(unlink(longest) == 0)
    #expect(refusal(longest + "x") == "bind \(longest)x: File name too long")
  }

  // In a process of its own, where no child of another test can hold a copy of the socket for a moment.
  @Test("as soon as it is closed nobody can connect, and the file is left to its owner", .exitTest)
  func closes() async {
    defer { scratch.remove() }
    await #expect(processExitsWith: .success) {
      LoopThread.start()
      try await closeListener()
    }
  }

  @Test("without descriptors connections wait, and are taken when there are some again", .exitTest)
  func exhaustion() async {
    defer { scratch.remove() }
    await #expect(processExitsWith: .success) {
      LoopThread.startAlone()
      try await runOutOfDescriptors()
    }
  }
}

@Loop private func runOutOfDescriptors() async throws {
  let scratch = Scratch()
  defer { scratch.remove() }
  let path = "\(scratch.path)/s"
  let errors = Inbox<SystemError>(capacity: 100)
  let connections = Inbox<UInt32>(capacity: 1)
  let listener = try Listener(path: path, onExhaustion: { errors.post($0) }) { connections.post($1) }
  defer { listener.close() }
  let stream = try Stream.connect(to: path)
  defer { stream.close() }
  // The connection is made and not yet taken; from here on the loop's own table of descriptors is full. Other threads
  // have theirs, and the limit leaves them enough.
  var limit = rlimit()
  #expect(getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
  limit.rlim_cur = 256
  #expect(setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
  var fillers: [Int32] = []
  while case let filler = open("/dev/null", O_RDONLY | O_CLOEXEC), filler >= 0 { fillers.append(filler) }
  #expect(errno == EMFILE)
  #expect(await errors.next().description == "accept: Too many open files")
  for filler in fillers { close(filler) }
  #expect(await connections.next() == geteuid())
}

@Loop private func closeListener() throws {
  let scratch = Scratch()
  defer { scratch.remove() }
  let path = "\(scratch.path)/s"
  let listener = try Listener(path: path, onExhaustion: { _ in }, onConnection: { _, _ in })
  #expect(UnixSocket.probe(path, patience: 0) == .somebody)
  listener.close()
  listener.close()
  #expect(UnixSocket.probe(path, patience: 0) == .failed(.connectionRefused))
  #expect(exists(path))
  #expect(UnixSocket.probe("\(scratch.path)/none", patience: 0) == .failed(.noSuchFileOrDirectory))
}
