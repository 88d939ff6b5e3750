// Paths as text: made absolute, split into components, compared, and checked for what podman can be told.

/// Paths, handled without asking the file system.
enum Path {
  /// The components of a path as bytes; empty ones (doubled slashes) are left out.
  static func components(_ path: String) -> [[UInt8]] {
    path.utf8.split(separator: UInt8(ascii: "/")).map(Array.init)
  }

  static func isAbsolute(_ path: String) -> Bool { path.utf8.first == UInt8(ascii: "/") }

  /// An absolute path without `.`, `..` and doubled slashes. `..` is taken off the text, not looked up
  /// through symbolic links, because that is what podman does with the source of a mount: what is checked
  /// here is what is mounted there.
  static func resolve(_ path: String, against folder: String) -> String {
    var resolved: [[UInt8]] = []
    for component in components(isAbsolute(path) ? path : "\(folder)/\(path)") {
      switch component {
      case Array(".".utf8): continue
      case Array("..".utf8): _ = resolved.popLast()
      default: resolved.append(component)
      }
    }
    return String(
      decoding: [UInt8(ascii: "/")] + resolved.joined(separator: [UInt8(ascii: "/")]), as: UTF8.self)
  }

  /// The folder of an absolute path that `resolve` made.
  static func folder(of path: String) -> String { resolve("..", against: path) }

  /// Whether two paths are the same or one lies within the other.
  static func overlap(_ left: String, _ right: String) -> Bool {
    let left = components(left)
    let right = components(right)
    return left.starts(with: right) || right.starts(with: left)
  }

  /// What is wrong with a path of this machine: nothing that podman or the kernel could not be told.
  static func complaints(about path: String) -> [String] {
    var complaints: [String] = []
    if path.hasControlCharacter {
      complaints.append("must not hold a control character; use a path without one")
    }
    if path.utf8.count > Limits.pathBytes {
      complaints.append("is longer than \(Limits.pathBytes) bytes; use a shorter path")
    }
    return complaints
  }
}
