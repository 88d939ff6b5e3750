// How much a tree takes on a disk: counted in steps, once or again and again while a child writes it.

internal import Glibc
internal import Reactor
internal import Synchronization

/// What the files below a directory take.
///
/// Each counts as `leastSize` at least: any number of small ones takes as much in the end, of a disk and of its inodes.
enum TreeSize {
  /// What a file or directory counts as at least, in bytes.
  static let leastSize: UInt64 = 16 << 10
  /// Entries looked at in one step: about a millisecond, in which a short job of a session may have to wait.
  private static let stepEntries = 256

  /// Counts all of it, or so much that it is more than `limit` bytes, in steps between which other work has its turn.
  static func measure(_ directory: String, upTo limit: UInt64, on worker: Worker) async -> UInt64 {
    let walk = Walk(from: directory, upTo: limit)
    while true {
      if let bytes = await worker.run({ walk.advance(entries: stepEntries) }) { return bytes }
    }
  }

  /// Where the counting is. To be called on the worker.
  private final class Walk: Sendable {
    private let position: Mutex<Position>

    init(from directory: String, upTo limit: UInt64) {
      position = Mutex(Position(from: directory, upTo: limit))
    }

    /// Counts some entries more.
    ///
    /// - Returns: the sum, once it is known.
    func advance(entries: Int) -> UInt64? {
      position.withLock { position in
        for _ in 0..<entries where !position.isOver { position.advance() }
        return position.isOver ? position.bytes : nil
      }
    }
  }

  private final class Position {
    private let limit: UInt64
    private(set) var bytes: UInt64 = 0
    /// Those that are still to be read.
    private var directories: [String]
    /// The one that is being read, and its path.
    private var stream: OpaquePointer?
    private var path = ""

    init(from directory: String, upTo limit: UInt64) {
      self.limit = limit
      directories = [directory]
    }

    deinit { if let stream { closedir(stream) } }

    /// Whether there is nothing more to be counted.
    var isOver: Bool { bytes > limit || stream == nil && directories.isEmpty }

    /// Counts an entry, or goes on to the next directory. What goes meanwhile counts for nothing: who writes the tree renames
    /// and removes.
    func advance() {
      guard let stream else {
        path = directories.removeLast()
        stream = opendir(path)
        return
      }
      guard let entry = readdir(stream) else {
        closedir(stream)
        self.stream = nil
        return
      }
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      var status = stat()
      guard name != ".", name != "..", fstatat(dirfd(stream), name, &status, AT_SYMLINK_NOFOLLOW) == 0 else {
        return
      }
      if status.st_mode & S_IFMT == S_IFDIR { directories.append("\(path)/\(name)") }
      bytes += max(UInt64(status.st_size), TreeSize.leastSize)
    }
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
