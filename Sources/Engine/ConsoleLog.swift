// Reads console.log: podman's k8s-file format back into the bytes that were written.

internal import Glibc

/// Decodes the format piece by piece: `TIME STREAM TAG CONTENT`, where the tag F ends a line and P does not.
///
/// conmon writes it (src/ctr_logging.c); content is the program's own bytes, whatever they are.
public struct ConsoleLog: Sendable {
  /// Which of its streams a program wrote to.
  public enum Source: Sendable, Equatable {
    /// stdout
    case output
    /// stderr
    case error
  }

  /// A piece of a program's output.
  public struct Piece: Sendable, Equatable {
    /// Where it was written.
    public let source: Source
    /// What was written.
    public var bytes: [UInt8]
  }

  /// The longest line that is held until its end arrives. conmon splits at less than this.
  private static let lineLimit = 1 << 20

  private var rest: [UInt8] = []

  /// Starts at the beginning of a log.
  public init() {}

  /// Takes the next bytes of the file and returns what they complete, neighbours of one source joined.
  public mutating func decode(_ bytes: some Collection<UInt8>) -> [Piece] {
    rest += bytes
    var pieces: [Piece] = []
    let taken = rest.withUnsafeBytes { Self.decode($0, into: &pieces) }
    rest.removeSubrange(..<taken)
    if rest.count > Self.lineLimit { rest = [] }
    return pieces
  }

  /// Decodes the whole lines of `bytes` and returns how many bytes they take. By memchr, because a command may write
  /// faster than a closure a byte could follow.
  private static func decode(_ bytes: UnsafeRawBufferPointer, into pieces: inout [Piece]) -> Int {
    var start = 0
    while let newline = index(of: UInt8(ascii: "\n"), in: bytes, from: start, to: bytes.count) {
      append(bytes, start, newline, to: &pieces)
      start = newline + 1
    }
    return start
  }

  private static func append(
    _ bytes: UnsafeRawBufferPointer, _ start: Int, _ end: Int, to pieces: inout [Piece]
  ) {
    let space = UInt8(ascii: " ")
    guard let time = index(of: space, in: bytes, from: start, to: end),
      let stream = index(of: space, in: bytes, from: time + 1, to: end),
      let tag = index(of: space, in: bytes, from: stream + 1, to: end)
    else { return }
    let source: Source
    switch bytes[(time + 1)..<stream] {
    case let name where name.elementsEqual("stdout".utf8): source = .output
    case let name where name.elementsEqual("stderr".utf8): source = .error
    default: return
    }
    if pieces.last?.source != source { pieces.append(Piece(source: source, bytes: [])) }
    let endsLine = bytes[(stream + 1)..<tag].elementsEqual("F".utf8)
    // The log's own newline is the line's, too.
    pieces[pieces.count - 1].bytes += bytes[(tag + 1)..<(endsLine ? end + 1 : end)]
  }

  private static func index(of byte: UInt8, in bytes: UnsafeRawBufferPointer, from start: Int, to end: Int)
    -> Int?
  {
    guard start < end, let base = bytes.baseAddress,
      let found = memchr(base + start, Int32(byte), end - start)
    else {
      return nil
    }
    return UnsafeRawPointer(found) - base
  }
}
