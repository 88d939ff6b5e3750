// A mount of a profile: a path of the host that its sessions see at a path of their own.

/// A bind mount that a profile adds to its sessions. It is not relabelled.
public struct Mount: Sendable, Equatable {
  /// Absolute path on the host, without `.` and `..`; it existed when the configuration was read.
  public let source: String
  /// Absolute path in the container.
  public let target: String
  /// Whether the session may only read.
  public let readOnly: Bool

  /// A mount with these properties, which are taken to be checked.
  public init(source: String, target: String, readOnly: Bool) {
    self.source = source
    self.target = target
    self.readOnly = readOnly
  }
}

extension Mount {
  private static let keys = ["source", "target", "read_only"]

  /// Characters that a target must not hold: the comma parts podman's options, and the others are
  /// patterns to find(1), which leaves mount targets alone when it changes the owner of the home.
  private static let refusedInTarget: [Unicode.Scalar] = [",", "*", "?", "[", "]", "\\"]

  /// Reads one `[[profiles.mounts]]` table; nil after at least one report.
  ///
  /// - Parameters:
  ///   - section: The table.
  ///   - user: The profile's name, which names the home directory; nil when it is not valid.
  ///   - host: What the rules need to know of the machine.
  init?(_ section: Section, user: String?, host: Host) {
    section.refuseKeys(except: Self.keys)
    let source = Self.source(section, host: host)
    let target = Self.target(section, user: user)
    let readOnly = section.boolean("read_only")
    guard let source, let target, let readOnly else { return nil }
    self.init(source: source, target: target, readOnly: readOnly)
  }

  private static func source(_ section: Section, host: Host) -> String? {
    guard let text = section.filledString("source", required: true) else { return nil }
    guard Path.isAbsolute(text) else {
      section.report("source", "\(text.quoted) must be an absolute path; begin it with /")
      return nil
    }
    let path = Path.resolve(text, against: "/")
    var complaints = Path.complaints(about: path)
    if complaints.isEmpty, !host.exists(path) {
      complaints.append("does not exist on this host; create it or correct the path")
    }
    for complaint in complaints { section.report("source", "\(path.quoted) \(complaint)") }
    return complaints.isEmpty ? path : nil
  }

  private static func target(_ section: Section, user: String?) -> String? {
    guard let target = section.filledString("target", required: true) else { return nil }
    var complaints = Path.complaints(about: target) + shapeComplaints(target)
    if Path.isAbsolute(target), target != "/",
      let reserved = reserved(for: user).first(where: { Path.overlap($0, target) })
    {
      complaints.append(
        "is reserved: it is, holds or lies within \(reserved), which agentd makes itself; use another path")
    }
    for complaint in complaints { section.report("target", "\(target.quoted) \(complaint)") }
    return complaints.isEmpty ? target : nil
  }

  private static func shapeComplaints(_ target: String) -> [String] {
    guard Path.isAbsolute(target) else { return ["must be an absolute path; begin it with /"] }
    guard target.utf8.count > 1 else { return ["is reserved: mount at a path below it"] }
    var complaints: [String] = []
    if target.utf8.last == UInt8(ascii: "/") {
      complaints.append("must not end with a slash; take it off")
    }
    let parts = target.utf8.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    if parts.contains(where: { $0.elementsEqual(".".utf8) || $0.elementsEqual("..".utf8) }) {
      complaints.append("must not hold a . or .. component; write the path that is meant")
    }
    if parts.dropLast().contains(where: \.isEmpty) {
      complaints.append("must not hold a doubled slash; write one")
    }
    let refused = refusedInTarget.filter(target.hasByte)
    if !refused.isEmpty {
      let list = refused.map { String($0) }.joined(separator: " ")
      complaints.append(
        "must not hold the character\(refused.count == 1 ? "" : "s") \(list); use another path")
    }
    return complaints
  }

  /// The paths of a session that are agentd's. The home directory itself and its ancestors are reserved
  /// with them, since each of those holds them.
  private static func reserved(for user: String?) -> [String] {
    guard let user else { return ["/agentd"] }
    return ["/agentd", "/home/\(user)/.agentd", "/home/\(user)/repo"]
  }
}
