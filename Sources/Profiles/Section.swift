// A table of the configuration while it is read: hands out values of the right type and notes the rest.

/// Collects what is wrong with a file while it is read.
final class Findings {
  /// A problem whose line is not looked up yet.
  struct Finding {
    let path: [PathStep]
    let profile: String?
    let field: String?
    let message: String
  }

  private(set) var all: [Finding] = []

  func add(_ finding: Finding) { all.append(finding) }
}

/// One table of the file.
struct Section {
  let table: [String: TOML]
  let path: [PathStep]
  let findings: Findings
  /// The profile that problems are reported for.
  var profile: String?
  /// What a field's name follows in messages, such as `mount number 2, `.
  var fieldPrefix = ""

  /// Notes a problem with a field, or with the table as a whole.
  func report(_ key: String?, _ message: String) {
    let place = key.map { path + [.key($0)] } ?? path
    let field = key.map { fieldPrefix + $0 }
    findings.add(Findings.Finding(path: place, profile: profile, field: field, message: message))
  }

  func has(_ key: String) -> Bool { table[key] != nil }

  /// Notes every key that is not known here, and which one was probably meant.
  func refuseKeys(except known: [String]) {
    for key in table.keys.sorted() where !known.contains(key) {
      let advice =
        nearest(to: key, among: known).map { "did you mean \($0)?" }
        ?? "take it out; known here: \(known.joined(separator: ", "))"
      let place = path + [.key(key)]
      let field = fieldPrefix.hasSuffix(", ") ? String(fieldPrefix.dropLast(2)) : nil
      findings.add(
        Findings.Finding(
          path: place, profile: profile, field: field, message: "unknown key \(key.quoted); \(advice)"))
    }
  }

  /// The string at `key`; nil when there is none, after a report when that is wrong.
  func string(_ key: String, required: Bool = false) -> String? {
    switch table[key] {
    case .string(let text): return text
    case nil where required: report(key, "is missing; set it to a string")
    case nil: break
    case .some(let value): report(key, "must be a string, not \(value.type)")
    }
    return nil
  }

  /// As `string`, and the string is not empty.
  func filledString(_ key: String, required: Bool = false) -> String? {
    guard let text = string(key, required: required) else { return nil }
    guard !text.isEmpty else {
      report(key, required ? "must not be empty" : "must not be empty; set it or leave it out")
      return nil
    }
    return text
  }

  /// The string at `key` if it is an absolute path, without a report.
  func absolutePath(_ key: String) -> String? {
    guard case .string(let text)? = table[key], Path.isAbsolute(text) else { return nil }
    return text
  }

  /// The boolean at `key`, which has to be there.
  func boolean(_ key: String) -> Bool? {
    switch table[key] {
    case .boolean(let value): return value
    case nil: report(key, "is missing; set it to true or false")
    case .some(let value): report(key, "must be a boolean, true or false, not \(value.type)")
    }
    return nil
  }

  /// The boolean at `key`, `standard` when there is none; nil after a report.
  func boolean(_ key: String, otherwise standard: Bool) -> Bool? {
    has(key) ? boolean(key) : standard
  }

  /// The integer at `key`, or `standard` when there is none; nil after a report.
  func integer(_ key: String, in range: ClosedRange<Int>, otherwise standard: Int) -> Int? {
    switch table[key] {
    case .integer(let number) where range.contains(number): return number
    case .integer(let number):
      report(key, "must be \(range.lowerBound) to \(range.upperBound), not \(number)")
    case nil: return standard
    case .some(let value): report(key, "must be an integer, not \(value.type)")
    }
    return nil
  }

  /// The tables of the array at `key`, at most `limit` of them; empty when there is none.
  func sections(_ key: String, limit: Int) -> [Section] {
    guard let value = table[key] else { return [] }
    guard case .array(let elements) = value else {
      let advice = path.isEmpty ? "[[\(key)]]" : "[[profiles.\(key)]]"
      report(key, "must be an array of tables, not \(value.type); begin each with \(advice)")
      return []
    }
    if elements.count > limit {
      report(key, "has \(elements.count) elements; use at most \(limit)")
    }
    return elements.prefix(limit).enumerated().compactMap { index, element in
      guard case .table(let table) = element else {
        report(key, "number \(index + 1) must be a table, not \(element.type)")
        return nil
      }
      return Section(
        table: table, path: path + [.key(key), .index(index)], findings: findings, profile: profile)
    }
  }
}
