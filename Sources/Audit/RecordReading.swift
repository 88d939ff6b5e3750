// Finding a record by its session's id, and reading what it says.

internal import FoundationEssentials
internal import Glibc
internal import Reactor
internal import SystemPackage

extension Record {
  /// How many directories of the audit root are looked into, beside those of the given profiles.
  static let profileLimit = 4096
  /// The longest session.json that is read, in bytes. The longest that is written is a small part of it.
  static let sessionFileLimit = 1 << 20

  /// The record of a session, whatever profile it is of.
  ///
  /// - Parameters:
  ///   - session: its id, the name of the record's directory.
  ///   - auditRoot: where the records are.
  ///   - profiles: names of profiles whose directories are looked into first.
  /// - Returns: nil when there is none.
  /// - Throws: `AuditError` when a directory that may hold it cannot be looked into and no other does.
  public static func find(
    session: String, auditRoot: String, profiles: [String]
  ) throws(AuditError) -> Record? {
    guard FilePath.Component(session)?.kind == .regular else { return nil }
    let root: Directory
    do {
      root = try Directory(path: auditRoot)
    } catch .system(_, _, ENOENT) {
      return nil
    }
    var obstacle: AuditError?
    for profile in profiles {
      if let record = look(for: session, in: root, profile, &obstacle) { return record }
    }
    let known = Set(profiles)
    let names = try DirectoryStream(
      reading: openDescriptor(auditRoot, O_RDONLY | O_DIRECTORY, following: true, path: auditRoot),
      path: auditRoot)
    for _ in 0..<profileLimit {
      guard let name = try names.next().map({ String(cString: $0) }) else { break }
      guard !known.contains(name) else { continue }
      if let record = look(for: session, in: root, name, &obstacle) { return record }
    }
    if let obstacle { throw obstacle }
    return nil
  }

  private static func look(
    for session: String, in root: borrowing Directory, _ profile: String, _ obstacle: inout AuditError?
  ) -> Record? {
    do throws(AuditError) {
      return Record(path: try root.open(profile).open(session).path)
    } catch {
      switch error {
      // Not there, or nothing that agentd makes.
      case .system(_, _, ENOENT), .system(_, _, ENOTDIR), .system(_, _, ELOOP): break
      default: obstacle = obstacle ?? error
      }
      return nil
    }
  }

  /// What session.json says. A record is complete when that has an outcome.
  ///
  /// - Throws: `AuditError`: ENOENT while the record is being made.
  public func readMetadata() throws(AuditError) -> Metadata {
    let agentd = try openAgentd()
    let file = try openDescriptor(
      Record.metadataName, in: agentd.descriptor.raw, O_RDONLY, path: metadataPath)
    let entry = try Entry(describing: "", in: file.raw, path: metadataPath)
    guard entry.type == S_IFREG else { throw .unreadable(path: metadataPath, reason: "it is no file") }
    let bytes = try readAll(of: file.raw, limit: Record.sessionFileLimit, path: metadataPath)
    do {
      return try JSONDecoder().decode(Metadata.self, from: Data(bytes))
    } catch {
      throw .unreadable(path: metadataPath, reason: "it is not what agentd writes")
    }
  }
}

/// Reads a file to its end.
private func readAll(of descriptor: Int32, limit: Int, path: String) throws(AuditError) -> [UInt8] {
  let chunk = 1 << 14
  var bytes: [UInt8] = []
  while true {
    var piece = [UInt8](repeating: 0, count: chunk)
    let count = try call("read", path) { read(descriptor, &piece, chunk) }
    guard count > 0 else { return bytes }
    bytes += piece[..<count]
    guard bytes.count <= limit else {
      throw .unreadable(path: path, reason: "it is longer than \(limit) bytes")
    }
  }
}
