// Reads console.log: podman's k8s-file format back into the bytes that were written.

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
    var start = rest.startIndex
    while let newline = rest[start...].firstIndex(of: UInt8(ascii: "\n")) {
      append(rest[start..<newline], to: &pieces)
      start = newline + 1
    }
    rest.removeSubrange(..<start)
    if rest.count > Self.lineLimit { rest = [] }
    return pieces
  }

  private func append(_ line: ArraySlice<UInt8>, to pieces: inout [Piece]) {
    let fields = line.split(separator: UInt8(ascii: " "), maxSplits: 3, omittingEmptySubsequences: false)
    guard fields.count == 4 else { return }
    let source: Source
    switch Array(fields[1]) {
    case Array("stdout".utf8): source = .output
    case Array("stderr".utf8): source = .error
    default: return
    }
    var content = Array(fields[3])
    if fields[2].elementsEqual("F".utf8) { content.append(UInt8(ascii: "\n")) }
    if pieces.last?.source == source {
      pieces[pieces.count - 1].bytes += content
    } else {
      pieces.append(Piece(source: source, bytes: content))
    }
  }
}
