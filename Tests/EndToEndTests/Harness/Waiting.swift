// Waiting for an event (a write to a file, the end of a program), bounded, failing with what was seen.

import Glibc

/// How long a test waits for anything before it gives up. Two slow cores may be shared with other work.
let patience: Duration = .seconds(120)

/// Waits until `probe` finds something. It looks again whenever one of the files was written to or a program ended.
///
/// - Parameters:
///   - what: what is waited for, for the failure.
///   - files: files or directories that change when there may be something new.
///   - ended: programs whose end may be what is waited for.
///   - alive: a program without which it cannot come any more: its end ends the wait.
///   - seen: what to show when it does not come.
@discardableResult
func waitUntil<Value>(
  _ what: String, files: [String] = [], ended: [Program] = [], alive: Program? = nil,
  within bound: Duration = patience, seen: () -> String, _ probe: () throws -> Value?
) throws -> Value {
  let end = ContinuousClock.now + bound
  // Watched before the first look, so that nothing falls between the two.
  let watch = inotify_init1(Int32(IN_CLOEXEC | IN_NONBLOCK))
  guard watch >= 0 else { throw Failure("inotify_init1: errno \(errno)") }
  defer { close(watch) }
  for file in files {
    let mask = UInt32(IN_MODIFY | IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM)
    guard inotify_add_watch(watch, file, mask) >= 0 else {
      throw Failure("\(file) cannot be watched: errno \(errno)")
    }
  }
  while true {
    let lastLook = alive?.hasEnded ?? false
    if let value = try probe() { return value }
    if lastLook {
      throw Failure("\(alive?.name ?? "") ended before \(what) came. Seen: \(seen())")
    }
    let left = end - ContinuousClock.now
    guard left > .zero else { throw Failure("\(what) did not come within \(bound). Seen: \(seen())") }
    var polled = [pollfd(fd: watch, events: Int16(POLLIN), revents: 0)]
    // Not `hasEnded`, which would reap: one that has ended since the probe has to end this wait.
    for program in ended + [alive].compactMap(\.self) where program.status == nil {
      polled.append(pollfd(fd: program.pidfd, events: Int16(POLLIN), revents: 0))
    }
    let milliseconds = left.components.seconds * 1000 + left.components.attoseconds / 1_000_000_000_000_000
    poll(&polled, nfds_t(polled.count), Int32(clamping: milliseconds + 1))
    var events = [UInt8](repeating: 0, count: 1 << 14)
    while read(watch, &events, events.count) > 0 {}
  }
}
