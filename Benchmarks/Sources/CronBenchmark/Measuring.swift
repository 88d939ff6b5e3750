// Time and memory of this process.

import Glibc
import BenchmarkSupport

/// What this thread has used of a processor, in nanoseconds: waiting for one does not count.
func threadTime() -> Int64 {
  var time = timespec()
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
  return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}

/// What a call uses of the processor, in nanoseconds: the least of some repeats, as more of it is somebody else's doing.
func leastTime(of repeats: Int, _ body: () throws -> Void) rethrows -> Int64 {
  var least = Int64.max
  for _ in 0..<repeats {
    let start = threadTime()
    try body()
    least = min(least, threadTime() - start)
  }
  return least
}

/// The same for a call so short that only many in a row can be measured.
func leastTimeOfShort(_ body: () throws -> Void) rethrows -> Double {
  let calls = 1000
  return Double(try leastTime(of: 20) { for _ in 0..<calls { try body() } }) / Double(calls)
}

/// The memory of this process that is in use, in bytes.
func residentBytes() -> Int {
  guard let file = fopen("/proc/self/statm", "r") else { return 0 }
  defer { fclose(file) }
  var line = [CChar](repeating: 0, count: 128)
  guard fgets(&line, Int32(line.count), file) != nil else { return 0 }
  let fields = String(decoding: line.prefix { $0 != 0 }.map(UInt8.init), as: UTF8.self).split(separator: " ")
  return (fields.count > 1 ? Int(fields[1]) ?? 0 : 0) * Int(getpagesize())
}

/// Keeps the compiler from leaving out what nobody looks at.
@inline(never)
@_optimize(none)
func consume<Value>(_ value: Value) {}

/// `1,234 ns`, `12.3 us` or `12.3 ms`.
func inWords(nanoseconds: Double) -> String {
  switch nanoseconds {
  case ..<10_000: decimal(nanoseconds, 0) + " ns"
  case ..<10_000_000: decimal(nanoseconds / 1000, 1) + " us"
  default: decimal(nanoseconds / 1_000_000, 1) + " ms"
  }
}

func inWords(nanoseconds: Int64) -> String { inWords(nanoseconds: Double(nanoseconds)) }
