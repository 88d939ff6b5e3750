// A session's audit record as a test reads it.

import Glibc

struct Record {
  let path: String

  var id: String { String(path[path.index(after: path.lastIndex(of: "/") ?? path.startIndex)...]) }
  var console: String { readText("\(path)/agentd/console.log") }

  /// session.json.
  func json() throws -> JSON {
    guard let bytes = readFile("\(path)/agentd/session.json") else {
      throw Failure("\(path) has no session.json")
    }
    return try JSON(parsing: bytes)
  }

  /// A file that the session left.
  func runa(_ name: String) -> [UInt8]? { readFile("\(path)/runa/\(name)") }
  func runaText(_ name: String) -> String { readText("\(path)/runa/\(name)") }

  /// The types and modes of everything below the record's directory, such as `runa/x: file 444`.
  func listing() -> [String] {
    var lines: [String] = []
    func walk(_ relative: String) {
      for name in entries(of: "\(path)/\(relative)") {
        let child = relative.isEmpty ? name : "\(relative)/\(name)"
        guard let status = status(of: "\(path)/\(child)") else { continue }
        let mode = String(status.permissions, radix: 8)
        if status.isSymlink {
          lines.append("\(child): symlink")
        } else if status.isDirectory {
          lines.append("\(child): directory \(mode)")
          walk(child)
        } else {
          lines.append("\(child): file \(mode)")
        }
      }
    }
    walk("")
    return lines.sorted()
  }

  /// What is not sealed: nothing in a complete record.
  func unsealed() -> [String] {
    return listing().filter { line in
      let isOwn = line.hasPrefix("agentd: directory ")
      return !isOwn && !line.hasSuffix(": symlink") && !line.hasSuffix(" 444") && !line.hasSuffix(" 555")
    }
  }
}
