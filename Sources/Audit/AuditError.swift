// What can go wrong with a record on disk, each as one sentence that tells the operator what to do.

internal import SystemPackage

/// Why a record could not be made, written, sealed or published.
///
/// A `path` inside a record is relative to the record, because an agent chose it; all others are absolute.
public enum AuditError: Error, Equatable {
  /// The record's directory is there already: two sessions drew one id, or a record was put back by hand.
  case collision(record: String)
  /// A profile or session id that cannot be the name of a directory.
  case unusableName(String)
  /// A system call failed with this errno.
  case system(call: String, path: String, code: Int32)
  /// A file of the record is not what agentd wrote there.
  case unreadable(path: String, reason: String)
  /// A file has a second name, maybe outside the record, through which its content could still be changed.
  case multipleLinks(record: String, path: String)
  /// Another file system, or another mount of this one, begins inside the record.
  case anotherFileSystem(record: String, path: String)
  /// Directories are nested deeper than sealing follows them.
  case tooDeep(record: String, path: String, limit: Int)
  /// An entry belongs to another user, or is closed to this one: seal again inside `podman unshare`.
  case foreignOwner(record: String, path: String)
  /// The record was to be published before it was sealed.
  case notSealed(record: String)
}

extension AuditError: CustomStringConvertible {
  /// One plain sentence: where, what happened, what to do.
  public var description: String {
    switch self {
    case .collision(let record):
      return
        "The audit record \(quoted(record)) exists already and is left as it is; start the session again."
    case .unusableName(let name):
      return "\(quoted(name)) cannot name a directory of the audit root; use a name without slashes."
    case .system(let call, let path, let code):
      return "\(quoted(path)): \(call) failed: \(Errno(rawValue: code)); \(advice(code))."
    case .unreadable(let path, let reason):
      return "\(quoted(path)) cannot be read: \(reason); see who changed the record."
    case .multipleLinks(let record, let path):
      return
        "\(quoted(path)) in the audit record \(quoted(record)) has more than one hard link, so that sealing"
        + " it could change a file elsewhere; find the other link, or remove this one."
    case .anotherFileSystem(let record, let path):
      return "\(quoted(path)) in the audit record \(quoted(record)) is on another file system;"
        + " unmount it, sealing does not leave the record's own."
    case .tooDeep(let record, let path, let limit):
      return
        "\(quoted(path)) in the audit record \(quoted(record)) is nested deeper than \(limit) directories;"
        + " move it up or remove it, sealing goes no further."
    case .foreignOwner(let record, let path):
      return
        "\(quoted(path)) in the audit record \(quoted(record)) belongs to another user or is closed to this"
        + " one; seal the record inside podman unshare."
    case .notSealed(let record):
      return "The audit record \(quoted(record)) is not sealed and was not published; seal it first."
    }
  }
}

private func advice(_ code: Int32) -> String {
  switch Errno(rawValue: code) {
  case .noSpace, .diskQuotaExceeded:
    return "free some space on that file system"
  case .permissionDenied, .notPermitted:
    return "give the daemon's user access to it"
  case .readOnlyFileSystem:
    return "mount that file system writable, or choose another audit_root"
  case .tooManyOpenFiles, .tooManyOpenFilesInSystem:
    return "raise the limit of open files"
  case .noSuchFileOrDirectory:
    return "see who removed it"
  case .notDirectory, .tooManySymbolicLinkLevels:
    return "put a real directory there, or choose another audit_root"
  default:
    return "check that file system"
  }
}

/// A path as one line of printable text: agents choose names, and a name may hold any byte but two.
private func quoted(_ path: String) -> String {
  var text = "'"
  for scalar in path.unicodeScalars {
    text += isControl(scalar) ? scalar.escaped(asASCII: true) : String(scalar)
  }
  return text + "'"
}

/// True for what moves a terminal or ends a line: control characters, and the separators of lines and paragraphs.
func isControl(_ scalar: Unicode.Scalar) -> Bool {
  switch scalar.properties.generalCategory {
  case .control, .format, .lineSeparator, .paragraphSeparator:
    return true
  default:
    return false
  }
}
