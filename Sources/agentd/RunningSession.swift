// A session that this terminal follows: its output, Ctrl-C, and its end.

internal import Control
internal import Engine
internal import Glibc
internal import Reactor

/// Shows a session's output as its console.log grows, and waits for its end.
@Loop
final class RunningSession {
  /// Read from console.log at once.
  private static let chunk = 1 << 16

  private enum Event {
    case output
    case answer(Result<Reply, VerbFailure>)
  }

  private let request: InvocationRequest
  private let client: Client
  private let isShown: Bool
  private let events = Inbox<Event>(capacity: 8)
  private var session: AcceptedSession?
  private var outputIsPending = false
  private var interrupts = 0
  private var log = ConsoleLog()
  /// Whether what the closing lines follow, the session's stderr, ended without a newline.
  private var isInMidLine = false
  /// Whether stdout is the same screen as stderr, so that the closing lines follow either.
  private let isOneTerminal = isatty(1) == 1 && isatty(2) == 1
  private var file: Descriptor?
  private let standardOutput = InheritedOutput(1, limit: .max)
  private let standardError = InheritedOutput(2, limit: .max)

  init(_ request: InvocationRequest, _ client: Client, isShown: Bool) {
    self.request = request
    self.client = client
    self.isShown = isShown
  }

  /// Asks for the session and returns the code to exit with, after `report` was given the session's end and the
  /// status line was printed.
  func follow(_ report: @Loop (FinishedSession) -> Void) async throws(VerbFailure) -> Int32 {
    let signals = try? Signals([SIGINT]) { _ in self.interrupted() }
    defer { signals?.close() }
    let reply = try await client.ask(.run(invocation: request))
    guard case .accepted(let session) = reply else { throw unexpected(reply) }
    self.session = session
    if interrupts > 0 { requestStop(of: session) }
    let watcher = isShown ? openLog(session) : nil
    defer { watcher?.close() }
    receive()
    while true {
      switch await events.next() {
      case .output:
        outputIsPending = false
        // One piece at a time: a command that never pauses must not keep the daemon's answer waiting.
        if await showPiece() { outputArrived() }
        await Loop.yield()
      case .answer(.success(.finished(let finished))):
        while await showPiece() { await Loop.yield() }
        report(finished)
        return conclude(finished)
      case .answer(.success(.done)): receive()
      case .answer(.success(let reply)): throw unexpected(reply)
      case .answer(.failure(let failure)):
        // A stop that came too late is refused; the end itself is on its way.
        guard interrupts > 0, failure.isRefusal else { throw failure }
        receive()
      }
    }
  }

  private func receive() {
    Loop.spawn { [client, events] in
      do throws(VerbFailure) {
        events.post(.answer(.success(try await client.answer())))
      } catch {
        events.post(.answer(.failure(error)))
      }
    }
  }

  /// Acts by itself and at once, whatever `follow` is waiting for: an answer, or a terminal that takes no output.
  private func interrupted() {
    interrupts += 1
    guard interrupts == 1 else {
      Terminal.complain(
        "Left the session \(session?.id ?? "that was asked for") to the daemon: see `agentd ps`.")
      _exit(128 + SIGINT)
    }
    Terminal.complain("stopping the session; Ctrl-C again leaves it to the daemon")
    if let session { requestStop(of: session) }
  }

  private func requestStop(of session: AcceptedSession) {
    // A connection that broke is told by whoever waits for the answer.
    Loop.spawn { [client] in try? await client.send(.stop(session: session.id)) }
  }

  // MARK: Output

  private func openLog(_ session: AcceptedSession) -> FileWatcher? {
    let raw = open(session.consoleLog, O_RDONLY | O_CLOEXEC)
    guard raw >= 0 else {
      Terminal.complain("The session's output cannot be shown: \(session.consoleLog) cannot be opened.")
      return nil
    }
    file = Descriptor(owning: raw)
    do throws(SystemError) {
      let watcher = try FileWatcher()
      _ = try watcher.watch(session.consoleLog) { self.outputArrived() }
      outputArrived()
      return watcher
    } catch {
      Terminal.complain("The session's output is shown at its end, because it cannot be watched (\(error)).")
      return nil
    }
  }

  private func outputArrived() {
    guard !outputIsPending else { return }
    outputIsPending = true
    events.post(.output)
  }

  /// Shows the next piece of the log; false at its present end.
  private func showPiece() async -> Bool {
    guard let raw = file?.raw else { return false }
    let bytes = [UInt8](unsafeUninitializedCapacity: Self.chunk) { buffer, filled in
      filled = max(0, Glibc.read(raw, buffer.baseAddress, buffer.count))
    }
    for piece in log.decode(bytes) {
      switch piece.source {
      case .output: await standardOutput.write(piece.bytes)
      case .error: await standardError.write(piece.bytes)
      }
      if piece.source == .error || isOneTerminal, let last = piece.bytes.last {
        isInMidLine = last != UInt8(ascii: "\n")
      }
    }
    return !bytes.isEmpty
  }

  private func conclude(_ finished: FinishedSession) -> Int32 {
    if isInMidLine { Terminal.note("") }
    // A session whose output was shown has ended with its reason.
    if file == nil, let reason = finished.reason { Terminal.complain(reason) }
    for problem in finished.problems { Terminal.complain(problem) }
    switch finished.outcome {
    case "success": Terminal.note("session success")
    case let outcome:
      let code = finished.exitCode.map { " (exit code \($0))" } ?? ""
      Terminal.note("session \(outcome)\(code)")
    }
    if finished.isSuccess { return 0 }
    // timeout(1)'s convention.
    if finished.outcome == "timed_out" { return 124 }
    return finished.exitCode ?? 1
  }
}
