// Processes of others and signals: who the parent is, what a signal reaches, and what arrives on the loop.

import Glibc
import Reactor
import TestSupport
import Testing

@Suite("Process")
struct ProcessTests {
  init() { LoopThread.start() }

  @Test("the parent of a process is read from the kernel, whatever the process is called") @Loop
  func parent() async throws {
    #expect(Process.parent(of: getpid()) == getppid())
    #expect(Process.parent(of: Int32.max) == nil)
    #expect(Process.parent(of: -1) == nil)
    // No pidfd is to be had of a thread that is not its process's first: as before Linux 6.13, /proc tells.
    let gettid = try symbol("gettid", as: (@convention(c) () -> Int32).self)
    #expect(gettid() != getpid())
    #expect(Process.parent(of: gettid()) == getppid())
    let scratch = Scratch()
    defer { scratch.remove() }
    // A script's process is called like its file. Written by another process, which has closed it when it runs.
    let name = "a) S 1 (b"
    let script =
      "printf '#!/bin/sh\\ncat /proc/$$/stat\\nread -r x <\"$0.go\"\\n' >\"$1\"; chmod 700 \"$1\"; "
      + "\"$1\" >\"$1.out\" & echo $!; wait"
    let go = "\(scratch.path)/\(name).go"
    #expect(mkfifo(go, 0o600) == 0)
    let child = try Child(
      Command(
        executable: "/bin/sh", arguments: ["-c", script, "sh", "\(scratch.path)/\(name)"],
        environment: ["PATH=/usr/bin:/bin"], deadline: .seconds(60)))
    // Opens when the script has opened its end.
    let worker = try Worker()
    let gate = Descriptor(owning: try await worker.run { () throws(CallFailed) in try openForWriting(go) })
    let text = try contents(of: "\(scratch.path)/\(name).out")
    #expect(text.contains("(\(name)) "))
    let pid = try #require(Int32(text.prefix { $0.isNumber }))
    let parent = try #require(Process.parent(of: pid))
    #expect(Process.parent(of: parent) == getpid())
    #expect(write(gate.raw, "\n", 1) == 1)
    #expect(await child.wait().succeeded)
  }

  @Test("how a process ended is known also when the loop was held up for longer than its reaping may take")
  @Loop
  func lateTurn() async throws {
    var patience = Duration.milliseconds(50)
    // One that is given up before it could be reaped, because the turns are that long here, shows nothing.
    while try await !isKnownAfterLateTurn(patience) { patience *= 2 }
  }

  /// Has a process reaped and the patience for that over in one turn; false when it was over before that turn.
  @Loop
  private func isKnownAfterLateTurn(_ patience: Duration) async throws -> Bool {
    let scratch = Scratch()
    defer { scratch.remove() }
    let gate = try makeFIFO("\(scratch.path)/go")
    // It stops itself, so that what it has started is not reaped when it ends.
    let script = "cd \"$0\"; sh -c 'read -r x <go; exit 7' & echo $! >pid; kill -STOP $$; wait"
    let parent = try Child(
      Command(
        executable: "/bin/sh", arguments: ["-c", script, scratch.path],
        environment: ["PATH=/usr/bin:/bin"], deadline: .seconds(3600)))
    var pid: Int32?
    while pid == nil {
      await Loop.yield()
      let text = (try? contents(of: "\(scratch.path)/pid")) ?? ""
      pid = text.hasSuffix("\n") ? Int32(text.dropLast()) : nil
    }
    let child = try #require(pid)
    let above = try #require(Process.parent(of: child))
    func state() throws -> Character? {
      try contents(of: "/proc/\(above)/stat").split(separator: ") ", maxSplits: 1).last?.first
    }
    while try state() != "T" { await Loop.yield() }
    let process = try Process(pid: child, reapPatience: patience)
    defer { process.close() }
    var isOver = false
    process.onExit = { isOver = true }
    #expect(write(gate.raw, "go\n", 3) == 3)
    while !process.isEnding { await Loop.yield() }
    // The kernel is told of a new timer at the end of a turn.
    await Loop.yield()
    let wasOver = isOver
    // The patience began before this moment, so it is over by then.
    let due = Loop.now + patience
    // From here on this is one turn: the time is over, and then the process is reaped.
    while Loop.now <= due { sched_yield() }
    #expect(kill(above, SIGCONT) == 0)
    while kill(child, 0) == 0 { sched_yield() }
    await process.wait()
    if kernelTellsExits && !wasOver { #expect(process.status == .exited(7)) }
    #expect(await parent.wait().succeeded)
    return !wasOver
  }

  @Test("words, variables and cgroup of a process are read from the kernel, and it is found among its user's")
  @Loop
  func table() async throws {
    #expect(Process.arguments(of: getpid()) == CommandLine.arguments)
    #expect(Process.arguments(of: Int32.max) == nil)
    let words = ["/usr/bin/tail", "-s", "1000", "-f", "/dev/null"]
    let child = try Child(
      Command(
        executable: words[0], arguments: Array(words.dropFirst()), environment: ["A=1", "BE=two words"],
        deadline: .seconds(60)))
    let pid = await childOfThisProcess(words)
    #expect(!Process.all(of: geteuid() + 1).contains { $0.pid == pid })
    var variables: [String] = []
    let isFound = Process.environment(of: pid) { variable in
      variables.append(String(decoding: variable, as: UTF8.self))
      return variable.starts(with: "BE=".utf8)
    }
    #expect(isFound)
    #expect(variables == ["A=1", "BE=two words"])
    #expect(!Process.environment(of: pid) { $0.starts(with: "E=".utf8) })
    #expect(!Process.environment(of: Int32.max) { _ in true })
    #expect(Process.cgroup(of: pid, holds: "/"))
    #expect(!Process.cgroup(of: pid, holds: "no-such-group"))
    #expect(!Process.cgroup(of: Int32.max, holds: "/"))
    child.kill()
    _ = await child.wait()
    #expect(Process.arguments(of: pid) == nil)
  }

  @Test("a signal reaches the process that is held, and one that has ended is no error") @Loop
  func signal() async throws {
    // Words that no other test's child has: those run at the same time.
    let words = ["/bin/sleep", "1000", "0.25"]
    let child = try Child(
      Command(
        executable: words[0], arguments: Array(words.dropFirst()), environment: [], deadline: .seconds(60)))
    let pid = await childOfThisProcess(words)
    let process = try Process(pid: pid, needsStatus: false)
    let told = Latch()
    process.onExit = { told.open() }
    #expect(!process.hasEnded)
    try process.signal(SIGTERM)
    await process.wait()
    await told.wait()
    #expect(process.hasEnded)
    #expect(await child.wait().status == .signaled(SIGTERM))
    try process.signal(SIGTERM)
    process.close()
    try process.signal(SIGTERM)
    process.close()
  }

  @Test("closing it lets go who waits for it, and its process goes on") @Loop
  func closes() async throws {
    let process = try Process(pid: getppid(), needsStatus: false)
    let waiting = Loop.spawn { await process.wait() }
    await Loop.spawn {}.value
    process.close()
    await waiting.value
    #expect(process.status == nil)
    #expect(kill(getppid(), 0) == 0)
  }

  @Test("a process that does not exist cannot be held") @Loop
  func missing() {
    let error = #expect(throws: SystemError.self) { try Process(pid: Int32.max) }
    #expect(error?.description == "pidfd_open: No such process")
  }

  /// The child of this process that was started with these words, as soon as it has them: the kernel lets the parent
  /// of a vfork go on a moment before the new program does.
  @Loop private func childOfThisProcess(_ words: [String]) async -> Int32 {
    while true {
      let child = Process.all(of: geteuid()).first {
        $0.arguments == words && Process.parent(of: $0.pid) == getpid()
      }
      if let child { return child.pid }
      await Loop.yield()
    }
  }
}

@Suite("Signals")
struct SignalsTests {
  init() { LoopThread.start() }

  // A real-time signal that nobody else in this process waits for. Only the loop's own thread blocks it and raises it.
  private let signal: Int32 = 39

  @Test("a signal is a message on the loop, each of those that are queued") @Loop
  func delivery() async throws {
    let received = Inbox<Int32>(capacity: 10)
    let signals = try Signals([signal, signal + 1]) { received.post($0) }
    // Real-time signals queue, and the lower number comes first.
    for number in [signal, signal, signal + 1] { #expect(raise(number) == 0) }
    for number in [signal, signal, signal + 1] { #expect(await received.next() == number) }
    signals.close()
    signals.close()
    // Blocked still: it waits for the next who receives it, and does not end the process.
    #expect(raise(signal) == 0)
    let next = try Signals([signal]) { received.post($0) }
    #expect(await received.next() == signal)
    next.close()
  }

  @Test("a peer that has gone ends a write, never the process", .exitTest)
  func brokenPipe() async {
    await #expect(processExitsWith: .success) {
      Signals.block([])
      #expect(raise(SIGPIPE) == 0)
    }
  }
}

/// Opens a FIFO as soon as somebody reads it.
private func openForWriting(_ path: String) throws(CallFailed) -> Int32 {
  let descriptor = open(path, O_WRONLY | O_CLOEXEC)
  guard descriptor >= 0 else { throw CallFailed("open \(path)", errno) }
  return descriptor
}

/// Processes that are held without a descriptor.
@Suite("Stowed processes")
struct StowedProcessTests {
  init() { LoopThread.start() }

  /// Children that wait for the end of what they read, the descriptor that keeps them, and their own ids.
  @Loop private func children(_ count: Int) async throws -> (children: [Child], pids: [Int32], gate: Int32) {
    let scratch = Scratch()
    defer { scratch.remove() }
    let fifo = "\(scratch.path)/gate"
    #expect(mkfifo(fifo, 0o600) == 0)
    let gate = open(fifo, O_RDWR | O_CLOEXEC)
    // Each writes its id down once it has the FIFO open, so that none is missed by the end of the gate.
    let script = "exec 3<\"$1\"; echo $$ >\"$1.$2\"; read -r x <&3; exit \"$2\""
    var children: [Child] = []
    for number in 1...count {
      children.append(
        try Child(
          Command(
            executable: "/bin/sh", arguments: ["-c", script, "sh", fifo, "\(number)"], environment: [],
            deadline: .seconds(60))))
    }
    var pids: [Int32] = []
    for number in 1...count {
      while true {
        let text = (try? contents(of: "\(fifo).\(number)")) ?? ""
        if text.hasSuffix("\n"), let pid = Int32(text.dropLast()) {
          pids.append(pid)
          break
        }
        await Loop.yield()
      }
    }
    return (children, pids, gate)
  }

  @Test("each of many that end at once tells its own status, however many ends wait to be taken") @Loop
  func crowd() async throws {
    let (children, pids, gate) = try await children(60)
    let held = try pids.map { try Process(pid: $0, isStowed: true) }
    defer { for process in held { process.close() } }
    #expect(held.allSatisfy { $0.isAlive })
    close(gate)
    for (index, process) in held.enumerated() {
      await process.wait()
      #expect(process.status == .exited(Int32(index) + 1))
      #expect(!process.isAlive)
    }
    for child in children { _ = await child.wait() }
  }

  @Test("it is signalled as any other, and told to have ended") @Loop
  func signal() async throws {
    let (children, pids, gate) = try await children(1)
    defer { close(gate) }
    let process = try Process(pid: pids[0], isStowed: true)
    defer { process.close() }
    try process.signal(SIGKILL)
    await process.wait()
    #expect(process.status == .signaled(SIGKILL))
    #expect(await children[0].wait().status == .signaled(SIGKILL))
  }

  @Test("one that is let go before it ends is not told of, and its place can be used again") @Loop
  func release() async throws {
    let (children, pids, gate) = try await children(2)
    for _ in 0..<3 {
      let process = try Process(pid: pids[0], isStowed: true)
      process.onExit = { Issue.record("nobody holds it any more") }
      process.close()
    }
    let process = try Process(pid: pids[1], isStowed: true)
    defer { process.close() }
    close(gate)
    await process.wait()
    #expect(process.status == .exited(2))
    for child in children { _ = await child.wait() }
  }
}
