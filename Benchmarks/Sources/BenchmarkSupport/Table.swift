// Figures in a table for people.

/// Prints a table whose first column is text and whose others are figures.
public func printTable(_ heads: [String], _ rows: [[String]]) {
  let widths = heads.indices.map { column in ([heads] + rows).map { $0[column].count }.max() ?? 0 }
  func line(_ cells: [String]) -> String {
    zip(cells, widths).enumerated().map { column, cell in
      let blanks = String(repeating: " ", count: cell.1 - cell.0.count)
      return column == 0 ? cell.0 + blanks : blanks + cell.0
    }.joined(separator: " | ")
  }
  print("| " + line(heads) + " |")
  print(
    "| "
      + widths.enumerated().map {
        $0 == 0 ? String(repeating: "-", count: $1) : String(repeating: "-", count: $1 - 1) + ":"
      }
      .joined(separator: " | ") + " |")
  for row in rows { print("| " + line(row) + " |") }
  print()
}

/// A number with so many digits behind its point, at most three.
public func decimal(_ value: Double, _ digits: Int = 2) -> String {
  guard value.isFinite else { return "-" }
  let scale = [1.0, 10, 100, 1000][min(max(digits, 0), 3)]
  let scaled = Int64((abs(value) * scale).rounded())
  let sign = value < 0 && scaled != 0 ? "-" : ""
  guard digits > 0 else { return "\(sign)\(scaled)" }
  let fraction = String(scaled % Int64(scale))
  let zeros = String(repeating: "0", count: digits - fraction.count)
  return "\(sign)\(scaled / Int64(scale)).\(zeros)\(fraction)"
}
