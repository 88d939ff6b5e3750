// Lines out of a stream of bytes, never longer than a limit.

internal import Reactor

/// Cuts what a stream delivers into lines.
@Loop
final class LineReader {
  /// Bytes asked of the stream at once.
  private static let chunk = 1 << 14

  /// The line grew beyond the limit.
  struct TooLong: Error {}

  private let stream: Stream
  private let limit: Int
  private var buffer: [UInt8] = []
  private var scanned = 0

  init(_ stream: Stream, limit: Int) {
    self.stream = stream
    self.limit = limit
  }

  /// The next line without its newline; nil at the end of the stream, where a part of a line does not count.
  ///
  /// - Throws: `TooLong` or `StreamError`.
  func next(within patience: Duration?) async throws -> [UInt8]? {
    // The patience is for the whole line: a peer that sends a byte now and then does not prolong it.
    let end = patience.map { Loop.now + $0 }
    while true {
      if let newline = buffer[scanned...].firstIndex(of: UInt8(ascii: "\n")) {
        guard newline <= limit else { throw TooLong() }
        let line = Array(buffer[..<newline])
        buffer.removeSubrange(...newline)
        scanned = 0
        return line
      }
      scanned = buffer.count
      guard buffer.count <= limit else { throw TooLong() }
      let left = end.map { $0 - Loop.now }
      guard let bytes = try await stream.read(upTo: Self.chunk, within: left) else { return nil }
      buffer += bytes
    }
  }
}
