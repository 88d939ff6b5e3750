// Children: what they inherit, what is kept of their output, and that they end.

import Glibc
import Reactor
import TestSupport
import Testing

@Suite("Child")
struct ChildTests {
  init() { LoopThread.start() }

  private func shell(_ script: String, deadline: Duration = .seconds(60), captureLimit: Int = 1 << 16)
    -> Command
  {
    Command(
      executable: "/bin/sh", arguments: ["-c", script], environment: ["PATH=/usr/bin:/bin"],
      deadline: deadline,
      captureLimit: captureLimit)
  }

  @Test("its output and exit code are captured") @Loop
  func captures() async throws {
    let result = try await shell("echo out; echo err >&2; exit 3").run()
    #expect(result.status == .exited(3))
    #expect(result.standardOutput == Array("out\n".utf8))
    #expect(result.standardError == Array("err\n".utf8))
    #expect(!result.timedOut)
  }

  @Test("a signal that ends it is told apart from an exit code") @Loop
  func signals() async throws {
    #expect(try await shell("kill -TERM $$").run().status == .signaled(SIGTERM))
  }

  @Test(
    "of more than the limit the beginning of stdout and the end of stderr are kept, and the child still ends",
    arguments: [1, 999, 1000, 1001, 2001, 3_000_000]) @Loop
  func boundsOutput(count: Int) async throws {
    let script = "echo first; head -c \(count) /dev/zero; echo last"
    let result = try await shell("{ \(script); } >&2; \(script); exit 4", captureLimit: 1000).run()
    let all = Array("first\n".utf8) + [UInt8](repeating: 0, count: count) + Array("last\n".utf8)
    #expect(result.standardOutput == Array(all.prefix(1000)))
    #expect(result.standardError == Array(all.suffix(1000)))
    #expect(result.status == .exited(4))
  }

  @Test("one that closes its output early goes on, and its end is told") @Loop
  func closesOutput() async throws {
    let script =
      "echo out; exec >&-; echo err >&2; exec 2>&-; "
      + "i=0; while [ $i -lt 1000 ]; do i=$((i + 1)); done; exit 5"
    let result = try await shell(script).run()
    #expect(result.status == .exited(5))
    #expect(result.standardOutput == Array("out\n".utf8))
    #expect(result.standardError == Array("err\n".utf8))
  }

  @Test("it leads a session of its own, so no terminal is its, and is scheduled as any other program") @Loop
  func session() async throws {
    let result = try await shell("read -r line </proc/self/stat; echo \"$line\"").run()
    // After the name, which may hold anything: state, parent, group, session, terminal, and so on (proc(5)).
    let line = String(decoding: result.standardOutput, as: UTF8.self)
    let pid = try #require(line.split(separator: " ").first)
    let fields = try #require(line.split(separator: ")").last).split(separator: " ")
    #expect(fields[2] == pid)
    #expect(fields[3] == pid)
    #expect(fields[4] == "0")
    #expect(fields[38] == "\(SCHED_OTHER)")
  }

  @Test("its deadline kills it and everything in its process group") @Loop
  func deadline() async throws {
    var deadline: Duration = .milliseconds(300)
    var output: [UInt8] = []
    repeat {
      let start = Loop.now
      let result = try await shell("sleep 1000 & echo $!; wait", deadline: deadline).run()
      #expect(Loop.now - start >= deadline)
      try #require(result.timedOut)
      #expect(result.status == .signaled(SIGKILL))
      // Where that is empty, a busy machine has killed it before it came so far.
      output = result.standardOutput
      deadline *= 2
    } while output.isEmpty && deadline < .seconds(120)
    let pid = try #require(Int32(String(decoding: output.dropLast(), as: UTF8.self)))
    // Gone already, or its end is seen: without the kill this would wait for a thousand seconds.
    if let grandchild = try? Process(pid: pid) {
      await grandchild.wait()
      grandchild.close()
    }
  }

  @Test(
    "one that the kernel does not end when it is killed is not waited for, and is reaped when it does",
    .exitTest)
  func stuck() async {
    await #expect(processExitsWith: .success) {
      LoopThread.start()
      try await outliveItsKill()
    }
  }

  @Test("a grandchild that keeps its output open does not hold it up") @Loop
  func grandchild() async throws {
    let result = try await shell("sleep 1000 & echo $!").run()
    #expect(result.status == .exited(0))
    let pid = try #require(Int32(String(decoding: result.standardOutput.dropLast(), as: UTF8.self)))
    #expect(kill(pid, SIGKILL) == 0)
  }

  @Test(
    "what it has said before it ended is there, whether that is looked at while it lives or at its end",
    arguments: ["", "sleep 0.5;"]) @Loop
  func lastWords(pause: String) async throws {
    // A grandchild keeps both ends open: reading would wait for it.
    let words = "head -c 50000 /dev/zero >&2; \(pause) echo last >&2"
    let result = try await shell("sleep 1000 & echo $!; \(words); exit 3").run()
    #expect(result.status == .exited(3))
    #expect(result.standardError == [UInt8](repeating: 0, count: 50_000) + Array("last\n".utf8))
    let pid = try #require(Int32(String(decoding: result.standardOutput.dropLast(), as: UTF8.self)))
    #expect(kill(pid, SIGKILL) == 0)
  }

  @Test("it starts with three descriptors, stdin empty, no signal blocked or ignored, in its own group") @Loop
  func startsClean() async throws {
    let held = open("/dev/null", O_RDONLY)  // not close-on-exec, on purpose
    defer { close(held) }
    func run(_ executable: String, _ arguments: String...) async throws -> String {
      let result = try await Command(
        executable: executable, arguments: arguments, environment: [], deadline: .seconds(60)
      ).run()
      return String(decoding: result.standardOutput, as: UTF8.self)
    }
    // The fourth is the directory that ls itself reads.
    #expect(try await run("/bin/ls", "/proc/self/fd") == "0\n1\n2\n3\n")
    #expect(try await run("/usr/bin/wc", "-c") == "0\n")
    let numbers = try await run("/bin/cat", "/proc/self/stat").split(separator: " ")
    #expect(numbers[0] == numbers[4])
    let lines = try await run("/bin/grep", "-E", "SigBlk|SigIgn", "/proc/self/status").split(separator: "\n")
    #expect(lines.first == "SigBlk:\t0000000000000000")
    let ignored = try #require(lines.last?.split(separator: "\t").last.flatMap { UInt64($0, radix: 16) })
    // glibc's posix_spawn itself leaves its two internal signals, 32 and 33, ignored.
    #expect(ignored & ~0x1_8000_0000 == 0)
  }

  @Test("a program that does not exist is an error that leaves nothing behind", .exitTest)
  func missing() async {
    await #expect(processExitsWith: .success) {
      LoopThread.startAlone()
      await startNothing()
    }
  }

  // In a process of its own: it counts every descriptor and waits for every child there is.
  @Test("200 at once are each reaped once, and every descriptor returns", .exitTest)
  func many() async {
    await #expect(processExitsWith: .success) {
      LoopThread.startAlone()
      await twoHundredAtOnce()
    }
  }
}

@Loop private func twoHundredAtOnce() async {
  // The first child opens what is opened once.
  _ = try? await Command(executable: "/bin/true", arguments: [], environment: [], deadline: .seconds(60))
    .run()
  let before = openDescriptors()
  let children = (0..<200).compactMap { index in
    try? Child(
      Command(
        executable: "/bin/sh", arguments: ["-c", "exit \(index % 100)"], environment: [],
        deadline: .seconds(60)))
  }
  #expect(children.count == 200)
  for (index, child) in children.enumerated() {
    #expect(await child.wait().status == .exited(Int32(index % 100)))
  }
  #expect(openDescriptors() == before)
  #expect(waitpid(-1, nil, WNOHANG) == -1)
}

@Loop private func startNothing() async {
  let before = openDescriptors()
  #expect(throws: SystemError.self) {
    try Child(Command(executable: "/nonexistent/x", arguments: [], environment: [], deadline: .seconds(1)))
  }
  #expect(openDescriptors() == before)
  #expect(waitpid(-1, nil, WNOHANG) == -1)
}

/// The first process of a new pid namespace is not gone before its last one is reaped, whose parent here is this process
/// and not the child: as good as one that waits for a disk.
@Loop private func outliveItsKill() async throws {
  let newProcessIDs: Int32 = 0x2000_0000
  let unshare = try symbol("unshare", as: (@convention(c) (Int32) -> Int32).self)
  guard unshare(newProcessIDs) == 0 else { throw CallFailed("unshare", errno) }
  var command = Command(
    executable: "/bin/sleep", arguments: ["1000"], environment: [], deadline: .milliseconds(500))
  command.killPatience = .milliseconds(200)
  let child = try Child(command)
  var other: Int32 = 0
  var words: [UnsafeMutablePointer<CChar>?] = [strdup("/bin/sleep"), strdup("1000"), nil]
  defer { for word in words { free(word) } }
  #expect(posix_spawn(&other, "/bin/sleep", nil, nil, &words, nil) == 0)
  let result = await child.wait()
  #expect(result.timedOut)
  #expect(result.isStuck)
  #expect(!result.succeeded)
  var status: Int32 = 0
  #expect(waitpid(other, &status, 0) == other)
  await child.end()
  #expect(await child.wait().isStuck == false)
}
