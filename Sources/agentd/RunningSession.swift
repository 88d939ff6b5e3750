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
    case interrupt
  }

  private let session: AcceptedSession
  private let client: Client
  private let isShown: Bool
  private let events = Inbox<Event>(capacity: 64)
  private var outputIsPending = false
  private var interrupts = 0
  private var log = ConsoleLog()
  /// Whether the session's stderr, which the closing lines follow, ended without a newline.
  private var isInMidLine = false
  private var file: Descriptor?
  private let standardOutput = InheritedOutput(1, limit: .max)
  private let standardError = InheritedOutput(2, limit: .max)

  init(_ session: AcceptedSession, _ client: Client, isShown: Bool) {
    self.session = session
    self.client = client
    self.isShown = isShown
  }

  /// Returns the code to exit with, after `report` was given the session's end and the status line was printed.
  func follow(_ report: @Loop (FinishedSession) -> Void) async throws(VerbFailure) -> Int32 {
    let signals = try? Signals([SIGINT, SIGTERM]) { _ in self.interrupted() }
    let watcher = isShown ? openLog() : nil
    defer {
      signals?.close()
      watcher?.close()
    }
    receive()
    while true {
      switch await events.next() {
      case .output:
        outputIsPending = false
        await show()
      case .interrupt:
        guard interrupts == 1 else {
          throw VerbFailure(
            sentence: "Left the session \(session.id) to the daemon: see `agentd ps`.", code: 128 + SIGINT)
        }
        Terminal.note("agentd: stopping the session; Ctrl-C again leaves it to the daemon")
        do throws(ClientError) {
          try await client.send(.stop(session: session.id))
        } catch {
          throw VerbFailure(error)
        }
      case .answer(.success(.finished(let finished))):
        await show()
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

  private func interrupted() {
    interrupts += 1
    if interrupts <= 2 { events.post(.interrupt) }
  }

  // MARK: Output

  private func openLog() -> FileWatcher? {
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

  private func show() async {
    guard let raw = file?.raw else { return }
    while true {
      let bytes = [UInt8](unsafeUninitializedCapacity: Self.chunk) { buffer, filled in
        filled = max(0, Glibc.read(raw, buffer.baseAddress, buffer.count))
      }
      guard !bytes.isEmpty else { return }
      for piece in log.decode(bytes) {
        switch piece.source {
        case .output: await standardOutput.write(piece.bytes)
        case .error:
          await standardError.write(piece.bytes)
          if let last = piece.bytes.last { isInMidLine = last != UInt8(ascii: "\n") }
        }
      }
    }
  }

  private func conclude(_ finished: FinishedSession) -> Int32 {
    if isInMidLine { Terminal.note("") }
    for problem in finished.problems { Terminal.complain(Terminal.plain(problem)) }
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
