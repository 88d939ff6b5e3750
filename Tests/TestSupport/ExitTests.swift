// How many tests run their bodies in processes of their own at a time: Swift Testing reads what each reports in a call
// that blocks, on one of the few threads that all tests share.

import Glibc
public import Testing

/// Bounds how many of the tests that have it run at a time, over all suites. Every test that has an exit test has it.
///
/// Without it as many exit tests as there are threads hold up all other tests for as long as they last, and what a test
/// expects of podman or of a client comes past its deadline.
public struct ExitTestTrait: TestTrait, TestScoping {
  /// Runs `function` when the test's turn has come.
  public func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @concurrent @Sendable () async throws -> Void
  ) async throws {
    await ExitTestPermits.shared.take()
    let result: Result<Void, any Error>
    do { result = .success(try await function()) } catch { result = .failure(error) }
    await ExitTestPermits.shared.giveBack()
    try result.get()
  }
}

extension Trait where Self == ExitTestTrait {
  /// For a test whose body, or a part of it, runs in a process of its own.
  public static var exitTest: Self { Self() }
}

/// The permits of all exit tests of this process; who has waited longest is next.
private actor ExitTestPermits {
  static let shared = ExitTestPermits()

  /// The pool has a thread for each processor that this process may use. One of them is left to the other tests, where
  /// there are two.
  private var free = max(1, usableProcessors() - 1)
  private var waiting: [CheckedContinuation<Void, Never>] = []

  func take() async {
    if free > 0 {
      free -= 1
    } else {
      await withCheckedContinuation { waiting.append($0) }
    }
  }

  func giveBack() {
    if waiting.isEmpty {
      free += 1
    } else {
      waiting.removeFirst().resume()
    }
  }
}

private func usableProcessors() -> Int {
  typealias Call = @convention(c) (pid_t, Int, UnsafeMutableRawPointer) -> Int32
  // One bit for each processor, of as many as the kernel is ever built for.
  var bits = [UInt64](repeating: 0, count: 128)
  guard let call = try? symbol("sched_getaffinity", as: Call.self), call(0, bits.count * 8, &bits) == 0 else {
    return 1
  }
  return bits.reduce(0) { $0 + $1.nonzeroBitCount }
}
