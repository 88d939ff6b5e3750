// Clocks, and what a process or thread has used of a processor.

public import Glibc

/// Now, by a clock, in nanoseconds.
public func now(_ clock: clockid_t = CLOCK_MONOTONIC) -> Int64 {
  var time = timespec()
  clock_gettime(clock, &time)
  return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}

/// What a process, all of its threads, has used of a processor so far, in nanoseconds; in the kernel's ticks.
public func processTime(of pid: Int32) -> Int64 {
  guard let file = fopen("/proc/\(pid)/stat", "r") else { return 0 }
  defer { fclose(file) }
  var line = [CChar](repeating: 0, count: 4096)
  guard fgets(&line, Int32(line.count), file) != nil else { return 0 }
  let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  // The name before may hold blanks; the state is the first field after it, user and system time the 12th and 13th.
  let fields = text.split(separator: ")").last?.split(separator: " ") ?? []
  guard fields.count > 12, let user = Int64(fields[11]), let system = Int64(fields[12]) else { return 0 }
  return (user + system) * (1_000_000_000 / Int64(sysconf(Int32(_SC_CLK_TCK))))
}
