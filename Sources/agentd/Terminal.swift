// Printing answers for the operator.

internal import Glibc

enum Terminal {
  /// Prints a sentence on stderr, with agentd's name.
  static func complain(_ sentence: String) {
    for line in sentence.split(separator: "\n") { note("agentd: \(plain(String(line)))") }
  }

  /// Prints a line on stderr.
  static func note(_ line: String) {
    let bytes = Array((line + "\n").utf8)
    var offset = 0
    while offset < bytes.count {
      let count = bytes[offset...].withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
      if count < 0, errno != EINTR { return }
      offset += max(0, count)
    }
  }

  /// Text from elsewhere without the control characters that could change what a terminal shows.
  static func plain(_ text: String) -> String {
    String(
      String.UnicodeScalarView(
        text.unicodeScalars.map { $0.properties.generalCategory == .control ? "?" : $0 }))
  }

  /// Rows under a header, in columns as wide as their widest field.
  static func table(_ header: [String], _ rows: [[String]]) -> String {
    let all = [header] + rows.map { $0.map(plain) }
    let widths = header.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
    return all.map { row in
      zip(row, widths).enumerated().map { index, field in
        index == row.count - 1 ? field.0 : field.0 + String(repeating: " ", count: field.1 - field.0.count)
      }.joined(separator: "  ")
    }.joined(separator: "\n")
  }

  /// How long a line of stdout may be: the terminal's width, or 80 where it is none.
  static var width: Int {
    var size = winsize()
    guard ioctl(1, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
    return Int(size.ws_col)
  }

  /// Whether stdout may be given anything but text: a terminal, unless NO_COLOR is set (https://no-color.org).
  static var isColoured: Bool { isatty(1) == 1 && currentEnvironment()["NO_COLOR", default: ""].isEmpty }

  /// As `age`, but to the millisecond where it is short: "310 ms", "4.20 s".
  static func span(_ duration: Duration) -> String {
    let milliseconds = duration.wholeMilliseconds
    guard milliseconds >= 1000 else { return "\(milliseconds) ms" }
    guard milliseconds < 60_000 else { return age(milliseconds: milliseconds) }
    let hundredths = milliseconds / 10
    return "\(hundredths / 100).\(hundredths % 100 < 10 ? "0" : "")\(hundredths % 100) s"
  }

  /// "3d 04h", "1h 02m", "3m 20s", "12s".
  static func age(milliseconds: UInt64) -> String {
    func two(_ number: UInt64) -> String { number < 10 ? "0\(number)" : "\(number)" }
    let seconds = milliseconds / 1000
    switch seconds {
    case ..<60: return "\(seconds)s"
    case ..<3600: return "\(seconds / 60)m \(two(seconds % 60))s"
    case ..<86_400: return "\(seconds / 3600)h \(two(seconds / 60 % 60))m"
    default: return "\(seconds / 86_400)d \(two(seconds / 3600 % 24))h"
    }
  }
}
