// Durations as operators write them: one grammar for the configuration and the command line.

extension Duration {
  /// The longest duration that can be written, in milliseconds: more than 31 years.
  private static let writtenLimit: Int64 = 1_000_000_000_000

  /// The units with their milliseconds, the longest first.
  private static let units: [(name: String, milliseconds: Int64)] = [
    ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1),
  ]

  /// Reads `90s`, `15m`, `2h`, `1d`, `500ms` or several in a row, as in `1h30m`; zero is written `0s`.
  ///
  /// Nil for anything else, and for more than 31 years.
  public init?(written text: String) {
    var milliseconds: Int64 = 0
    var rest = text[...]
    guard !rest.isEmpty else { return nil }
    while !rest.isEmpty {
      let digits = rest.prefix { ("0"..."9").contains($0) }
      rest = rest.dropFirst(digits.count)
      let letters = rest.prefix { $0.isLetter }
      rest = rest.dropFirst(letters.count)
      guard let number = Int64(digits), number <= Self.writtenLimit,
        let unit = Self.units.first(where: { $0.name == letters })
      else { return nil }
      let (product, overflow) = number.multipliedReportingOverflow(by: unit.milliseconds)
      guard !overflow, product <= Self.writtenLimit else { return nil }
      milliseconds += product
      guard milliseconds <= Self.writtenLimit else { return nil }
    }
    self = .milliseconds(milliseconds)
  }

  /// The duration in the form that `init(written:)` reads, `1h30m`. What is finer than milliseconds is cut off, and a
  /// negative one counts as none.
  public var written: String {
    let (seconds, attoseconds) = components
    var rest = Swift.max(0, seconds * 1000 + attoseconds / 1_000_000_000_000_000)
    var text = ""
    for unit in Self.units where rest >= unit.milliseconds {
      text += "\(rest / unit.milliseconds)\(unit.name)"
      rest %= unit.milliseconds
    }
    return text.isEmpty ? "0s" : text
  }
}
