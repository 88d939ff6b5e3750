// Rules for characters, and how a value is repeated in an error message.

/// Whether a character would break a line or steer a terminal: Unicode's controls and line separators.
func isControl(_ scalar: Unicode.Scalar) -> Bool {
  switch scalar.properties.generalCategory {
  case .control, .lineSeparator, .paragraphSeparator: true
  default: false
  }
}

extension String {
  /// Whether any character of the text is a control character, newline and tab included.
  var hasControlCharacter: Bool { unicodeScalars.contains(where: isControl) }

  /// Whether the byte of `character` occurs. Bytes, because a Character may join it with what follows.
  func hasByte(_ character: Unicode.Scalar) -> Bool { utf8.contains(UInt8(ascii: character)) }

  /// Whether this is a name that a shell takes for a variable: a letter or _, then letters, digits and _.
  var isShellIdentifier: Bool {
    guard let first = utf8.first, !isDigit(first) else { return false }
    return utf8.allSatisfy { isLetter($0) || isDigit($0) || $0 == UInt8(ascii: "_") }
  }

  /// The text for a message: one line, printable, and shortened after `limit` characters.
  func printable(limit: Int) -> String {
    var text = ""
    for scalar in unicodeScalars.prefix(limit) {
      if isControl(scalar) {
        text += "\\u{\(String(scalar.value, radix: 16))}"
      } else {
        text.unicodeScalars.append(scalar)
      }
    }
    return unicodeScalars.dropFirst(limit).isEmpty ? text : text + "..."
  }

  /// The text in quotation marks for a message.
  var quoted: String { "\"\(printable(limit: Limits.quotedCharacters))\"" }
}

/// Whether an ASCII byte is a letter.
func isLetter(_ byte: UInt8) -> Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) }

/// Whether an ASCII byte is a digit.
func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

/// Which of `candidates` was probably meant by `text`: the nearest one, at most two edits away.
func nearest(to text: String, among candidates: [String]) -> String? {
  let mostEdits = 2
  let word = Array(text.utf8)
  let ranked = candidates.map { (candidate: $0, distance: editDistance(word, Array($0.utf8))) }
  guard let best = ranked.min(by: { $0.distance < $1.distance }), best.distance <= mostEdits else {
    return nil
  }
  return best.candidate
}

/// How many bytes have to be inserted, removed or replaced to turn one word into the other (Levenshtein).
func editDistance(_ left: [UInt8], _ right: [UInt8]) -> Int {
  var row = Array(0...right.count)
  for (i, a) in left.enumerated() {
    var diagonal = row[0]
    row[0] = i + 1
    for (j, b) in right.enumerated() {
      let replaced = diagonal + (a == b ? 0 : 1)
      diagonal = row[j + 1]
      row[j + 1] = min(replaced, row[j] + 1, diagonal + 1)
    }
  }
  return row[right.count]
}
