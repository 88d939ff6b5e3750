// Reads what all five fields have in common: lists, ranges, steps, `*`, numbers and names.

/// The elements of a list, in upper case so that names and letters may be written in any case.
func elements(of text: Substring) throws(Complaint) -> [String] {
  let elements = text.uppercased().split(separator: ",", omittingEmptySubsequences: false).map(String.init)
  guard !elements.contains("") else {
    throw Complaint(
      message: "\"\(text)\" has an empty place in its list: write a value on each side of a comma")
  }
  return elements
}

/// The values of `*`, `5`, `1-5`, `*/15` or `10-40/5`. Sunday is always 0.
func values(of element: String, in field: CronField) throws(Complaint) -> ValueSet {
  let parts = element.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
  guard parts.count <= 2 else {
    throw Complaint(message: "\"\(element)\" has more than one step: write it as in */15 or 10-40/5")
  }
  let isRange = parts[0] == "*" || parts[0].utf8.contains(UInt8(ascii: "-"))
  // `5/15` means 5 alone to one cron and 5-59/15 to another; it is refused rather than guessed.
  guard isRange || parts.count == 1 else {
    throw Complaint(
      message:
        "\"\(element)\" steps from a single value: a step goes after * or a range, as in */15 or 10-40/5")
  }
  let range = try range(of: parts[0], in: field)
  let step = parts.count == 2 ? try stride(parts[1], of: element, in: field) : 1
  var set = ValueSet()
  for value in Swift.stride(from: range.lowerBound, through: range.upperBound, by: step) {
    set.insert(field == .dayOfWeek ? value % 7 : value)
  }
  return set
}

private func range(of text: String, in field: CronField) throws(Complaint) -> ClosedRange<Int> {
  if text == "*" {
    return field == .dayOfWeek ? 0...6 : field.values
  }
  let ends = text.split(separator: "-", omittingEmptySubsequences: false).map(String.init)
  let first = try value(ends[0], of: text, in: field)
  guard ends.count > 1 else { return first...first }
  guard ends.count == 2 else {
    throw Complaint(message: "\"\(text)\" is not a range: write two values with one - between them")
  }
  var last = try value(ends[1], of: text, in: field)
  // A week that ends on Sunday: FRI-SUN means what it says although SUN is 0.
  if field == .dayOfWeek, ends[1] == "SUN", first > 0 { last = 7 }
  guard first <= last else {
    throw Complaint(
      message: "\"\(text)\" runs backwards: write the lower value first, or two ranges with a comma")
  }
  return first...last
}

private func stride(_ text: String, of element: String, in field: CronField) throws(Complaint) -> Int {
  guard let step = number(text), (1...field.span).contains(step) else {
    throw Complaint(message: "\"\(element)\" needs a step from 1 to \(field.span) after the /")
  }
  return step
}

private func value(_ text: String, of element: String, in field: CronField) throws(Complaint) -> Int {
  if let index = field.names.firstIndex(of: text) { return field.values.lowerBound + index }
  guard let value = number(text) else {
    throw Complaint(message: "\"\(element)\" is not a value: expected \(field.expected)")
  }
  guard field.values.contains(value) else {
    throw Complaint(message: "\"\(element)\" is out of range: expected \(field.expected)")
  }
  return value
}

/// A number of decimal digits and nothing else; nil also for one that no field could take.
func number(_ text: String) -> Int? {
  guard !text.isEmpty, text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else {
    return nil
  }
  return Int(text)
}
