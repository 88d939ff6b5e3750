// Finds the line on which a value of a TOML document was written, for error messages.

/// A step from a table to one of its values, or from an array to one of its elements.
enum PathStep: Hashable {
  case key(String)
  case index(Int)
}

/// The lines on which the keys and headers of a document begin.
///
/// The TOML library keeps no positions. But every expression of TOML (a header, or a key with its value)
/// is a document by itself and ends with a line, so the text is cut into expressions by handing growing
/// runs of lines to the library until it takes one. No syntax is known here but a header's bracket.
struct SourceLines {
  /// How many bytes are handed to the library before the rest of the file goes without lines: enough for
  /// any file that people write, and less than a second for one made to be slow.
  private static let budget = 16 * Limits.fileBytes

  private var lines: [[PathStep]: Int] = [:]
  /// How many elements the array of tables at a path has so far.
  private var counts: [[PathStep]: Int] = [:]
  /// The table that the last header opened.
  private var open: [PathStep] = []

  /// - Parameter text: A document that the library takes.
  init(_ text: String) {
    let lines = Array(text.utf8).split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    var spent = 0
    var first = 0
    var run: [UInt8] = []
    for (index, line) in lines.enumerated() {
      run += line + [UInt8(ascii: "\n")]
      guard index == first || Self.mayEnd(line) else { continue }
      spent += run.count
      guard spent <= Self.budget else { return }
      guard let expression = try? TOML.parse(String(decoding: run, as: UTF8.self)) else { continue }
      note(expression, isHeader: run.first { $0 != 0x20 && $0 != 0x09 } == UInt8(ascii: "["), line: first + 1)
      first = index + 1
      run = []
    }
  }

  /// Whether an expression of several lines may end on this one: it ends with its string or its array.
  private static func mayEnd(_ line: ArraySlice<UInt8>) -> Bool {
    line.contains { "'\"]".utf8.contains($0) }
  }

  /// The line of the value at `path`, or of the innermost value around it whose line is known.
  subscript(path: [PathStep]) -> Int? {
    var path = path
    while !path.isEmpty {
      if let line = lines[path] { return line }
      path.removeLast()
    }
    return nil
  }

  private mutating func note(_ expression: [String: TOML], isHeader: Bool, line: Int) {
    if isHeader {
      enter(expression, line: line)
    } else {
      note(expression, at: open, line: line)
    }
  }

  /// Follows a header to the table it opens: in an array of tables, to the array's last element.
  private mutating func enter(_ header: [String: TOML], line: Int) {
    open = []
    var rest = header
    while let (key, value) = rest.first {
      open.append(.key(key))
      switch value {
      case .table(let inner):
        if let count = counts[open] { open.append(.index(count - 1)) }
        rest = inner
      case .array:
        counts[open, default: 0] += 1
        if lines[open] == nil { lines[open] = line }
        open.append(.index((counts[open] ?? 1) - 1))
        rest = [:]
      case .string, .boolean, .integer, .other: rest = [:]
      }
    }
    lines[open] = line
  }

  private mutating func note(_ table: [String: TOML], at path: [PathStep], line: Int) {
    for (key, value) in table {
      let here = path + [.key(key)]
      lines[here] = line
      if case .table(let inner) = value { note(inner, at: here, line: line) }
    }
  }
}
