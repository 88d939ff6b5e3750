// How far a record has come, for a daemon that did not write it.

internal import FoundationEssentials
internal import Glibc
internal import Reactor
public import Time

extension Record {
  /// How far a record has come.
  public enum Standing: Sendable, Equatable {
    /// It is not there, or its making was not finished: no session was accepted with it.
    case unmade
    /// It has no outcome yet.
    case open
    /// It has its outcome, and nothing happens to it any more.
    case complete
  }

  /// How far the record has come. A record that cannot be looked at counts as open: writing to it will tell why.
  public var standing: Standing {
    var status = stat()
    guard lstat(metadataPath, &status) == 0 else {
      return errno == ENOENT || errno == ENOTDIR ? .unmade : .open
    }
    let mode = status.st_mode & 0o7777
    // It is still being written; or a power failure came before `synchronize` had done its work.
    if mode == 0 || status.st_size == 0 { return .unmade }
    // Publishing is what makes session.json read-only.
    return mode == Sealing.fileMode ? .complete : .open
  }

  /// When the session last printed something, by the clock of the file system; nil when that cannot be told.
  public var lastOutputTime: Timestamp? {
    var status = stat()
    guard lstat(consoleLogPath, &status) == 0 else { return nil }
    return Timestamp(secondsSinceEpoch: Int64(status.st_mtim.tv_sec))
      + .nanoseconds(Int64(status.st_mtim.tv_nsec))
  }

  /// The records below the audit root that are still open and of this daemon, by the id in them. Complete ones cost one
  /// look at their session.json; those that cannot be read, or that name no daemon, are left alone.
  ///
  /// - Parameter known: sessions that are not looked at.
  public static func unfinished(
    auditRoot: String, daemon: String, except known: Set<String>
  ) -> [(Record, Metadata)] {
    names(in: auditRoot).flatMap { profile in
      unfinished(in: "\(auditRoot)/\(profile)", except: known).compactMap { session in
        let record = Record(auditRoot: auditRoot, profile: profile, session: session)
        guard let metadata = record.metadata, metadata.daemonID == daemon, metadata.sessionID == session,
          metadata.profile == profile
        else { return nil }
        return (record, metadata)
      }
    }
  }

  /// The sessions of a profile whose session.json is not read-only yet. Relative to the open directory, because there
  /// may be any number of complete ones.
  private static func unfinished(in path: String, except known: Set<String>) -> [String] {
    guard let directory = try? openDescriptor(path, O_RDONLY | O_DIRECTORY, path: path),
      let stream = try? DirectoryStream(reading: directory, path: path)
    else { return [] }
    var sessions: [String] = []
    while let name = (try? stream.next()) ?? nil {
      let session = String(cString: name)
      var status = stat()
      guard
        fstatat(stream.descriptor, "\(session)/agentd/\(metadataName)", &status, AT_SYMLINK_NOFOLLOW) == 0,
        status.st_mode & 0o7777 != Sealing.fileMode, !known.contains(session)
      else { continue }
      sessions.append(session)
    }
    return sessions
  }

  /// What session.json says; nil when it cannot be read.
  public var metadata: Metadata? { Record.metadata(at: metadataPath) }

  /// What session.json was to say, by a daemon that had sealed the record and did not come to publish it. nil when there is
  /// none, or it was cut short.
  public var stagedMetadata: Metadata? {
    let staged = Record.metadata(at: "\(path)/agentd/\(Record.temporaryMetadataName)")
    return staged?.outcome == nil ? nil : staged
  }

  private static func metadata(at path: String) -> Metadata? {
    guard let file = try? openDescriptor(path, O_RDONLY, path: path) else { return nil }
    var bytes: [UInt8] = []
    while bytes.count <= metadataLimit {
      let chunk = [UInt8](unsafeUninitializedCapacity: 1 << 14) { buffer, filled in
        filled = max(0, read(file.raw, buffer.baseAddress, buffer.count))
      }
      guard !chunk.isEmpty else { return try? JSONDecoder().decode(Metadata.self, from: Data(bytes)) }
      bytes += chunk
    }
    return nil
  }

  /// The largest session.json that is read. The longest that is written is a small part of it.
  private static let metadataLimit = 1 << 20

  private static func names(in path: String) -> [String] {
    guard let directory = opendir(path) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if !name.hasPrefix(".") { names.append(name) }
    }
    return names
  }
}
