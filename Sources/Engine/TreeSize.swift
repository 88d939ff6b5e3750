// How much a tree takes on a disk: counted in steps, once or again and again while a child writes it.

internal import Glibc
internal import Reactor

/// What the files below a directory take. To be called on the worker.
///
/// Each counts as `leastSize` at least: any number of small ones takes as much in the end, of a disk and of its inodes.
struct TreeSize: Sendable {
  /// What a file or directory counts as at least, in bytes.
  static let leastSize: UInt64 = 16 << 10
  /// Entries looked at in one step: about a millisecond, in which a short job of a session may have to wait.
  private static let stepEntries = 256

  /// Where counting ends, in bytes.
  private let limit: UInt64
  /// What was counted so far, in bytes.
  private(set) var bytes: UInt64 = 0
  private var directories: [String]
  /// The directory whose names were read, and those that were not counted yet.
  private var path = ""
  private var names: ArraySlice<String> = []

  /// Of a directory, or of so much of it that it is more than `limit` bytes.
  init(of directory: String, upTo limit: UInt64) {
    self.limit = limit
    directories = [directory]
  }

  /// Whether there is more to be counted.
  private var isOver: Bool { bytes > limit || names.isEmpty && directories.isEmpty }

  /// Counts some entries more. One that goes meanwhile counts for nothing: who writes the tree renames and removes.
  private mutating func step() {
    var left = Self.stepEntries
    while left > 0, !isOver {
      left -= 1
      guard let name = names.popFirst() else {
        path = directories.removeLast()
        // One directory at once, but never more of it than it takes to be too large.
        let most = Int((limit - bytes) / Self.leastSize) + 1
        names = ((try? MirrorFiles.names(in: path, limit: most)) ?? [])[...]
        continue
      }
      var status = stat()
      guard lstat("\(path)/\(name)", &status) == 0 else { continue }
      if status.st_mode & S_IFMT == S_IFDIR { directories.append("\(path)/\(name)") }
      bytes += max(UInt64(status.st_size), Self.leastSize)
    }
  }

  /// Counts all of it, in steps between which other work has its turn.
  static func measure(_ directory: String, upTo limit: UInt64, on worker: Worker) async -> UInt64 {
    var size = TreeSize(of: directory, upTo: limit)
    while !size.isOver {
      size = await worker.run { [size] in
        var next = size
        next.step()
        return next
      }
    }
    return size.bytes
  }
}

/// Looks at how much a child has written, again and again, and ends it when that is too much.
@Loop
final class GrowthWatch {
  private let directory: String
  private let limit: UInt64
  private let interval: Duration
  private let worker: Worker
  private let onExcess: @Loop () -> Void
  private var timer: Timer?
  private var isOver = false
  /// Whether it was too much.
  private(set) var isExceeded = false

  /// - Parameters:
  ///   - directory: what the child writes.
  ///   - limit: how much it may be, in bytes as `TreeSize` counts them.
  ///   - interval: how long after one look the next one is.
  ///   - onExcess: called once, when it is more.
  init(
    _ directory: String, limit: UInt64, every interval: Duration, on worker: Worker,
    onExcess: @escaping @Loop () -> Void
  ) {
    self.directory = directory
    self.limit = limit
    self.interval = interval
    self.worker = worker
    self.onExcess = onExcess
    arm()
  }

  /// The child has ended. To be called once.
  func end() {
    isOver = true
    timer?.cancel()
    timer = nil
  }

  private func arm() {
    timer = Timer(after: interval) { Loop.spawn { await self.look() } }
  }

  private func look() async {
    let size = await TreeSize.measure(directory, upTo: limit, on: worker)
    guard !isOver else { return }
    guard size > limit else { return arm() }
    isExceeded = true
    onExcess()
  }
}
