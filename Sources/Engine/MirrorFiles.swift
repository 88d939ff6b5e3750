// A mirror on disk: whether it is whole, how it is replaced, what a session gets of it. To be called on the worker.

internal import Crypto
internal import Glibc
internal import Reactor
internal import SystemPackage

/// The bare repository in a mirror's directory. It is replaced as a whole, and no file in it is ever changed.
///
/// Objects are in packs only. Packs are shared by hard links between the mirror, its successor, and what sessions get,
/// so that none of them has to care what becomes of the others.
struct MirrorFiles: Sendable {
  /// The mirror's directory.
  let path: String

  /// The repository in it.
  var repository: String { "\(path)/repository" }

  /// The name of a repository's mirror among those of a profile: 32 hex digits of SHA-256 over its URL.
  static func name(of repository: String) -> String {
    SHA256.hash(data: Array(repository.utf8)).prefix(16).map { hex($0) }.joined()
  }

  /// The file that says which files there are, and how large and how old each is.
  private static let stampName = "stamp"
  /// The files of a bare repository beside its packs. There are no packed-refs without a reference.
  private static let headFiles = ["HEAD", "config", "packed-refs"]

  // MARK: Reading

  /// How the mirror stands.
  enum Standing: Sendable, Equatable {
    case absent
    case whole
    /// Something was lost or changed since it was made.
    case broken
  }

  /// Whether each file is there as it was made. No content is read: git checks that when it uses it.
  func standing() -> Standing {
    var status = stat()
    guard lstat(repository, &status) == 0 else { return .absent }
    guard let stamp = try? Self.read("\(repository)/\(Self.stampName)"),
      let now = try? Self.stamp(of: repository), stamp == now
    else { return .broken }
    return .whole
  }

  /// How many packs it has.
  func packCount() -> Int {
    let packs = try? Self.names(in: "\(repository)/objects/pack")
    return packs?.count { $0.hasSuffix(".pack") } ?? 0
  }

  /// One line a file, in the order of their names: its size, its time of modification, its name.
  private static func stamp(of repository: String) throws(SystemError) -> [UInt8] {
    let packs = try names(in: "\(repository)/objects/pack").sorted().map { "objects/pack/\($0)" }
    var text = ""
    for name in headFiles + packs {
      var status = stat()
      guard lstat("\(repository)/\(name)", &status) == 0 else {
        guard name == "packed-refs", errno == ENOENT else {
          throw SystemError("stat \(repository)/\(name)", Errno(rawValue: errno))
        }
        continue
      }
      text += "\(status.st_size) \(status.st_mtim.tv_sec).\(status.st_mtim.tv_nsec) \(name)\n"
    }
    return Array(text.utf8)
  }

  /// Whether what git has fetched lies in files of their own.
  static func hasLooseObjects(_ directory: String) -> Bool {
    let names = try? names(in: "\(directory)/objects")
    return names?.contains { $0.utf8.count == 2 } ?? false
  }

  // MARK: Making

  /// Makes the mirror's directory, with those above it from `root` on.
  func make(below root: String) throws(SystemError) {
    try Self.makePrivate(root)
    var made = root
    for name in path.dropFirst(root.count).split(separator: "/") {
      made += "/\(name)"
      guard mkdir(made, 0o700) == 0 || errno == EEXIST else {
        throw SystemError("mkdir \(made)", Errno(rawValue: errno))
      }
    }
  }

  /// Makes a directory that is for this user only, or makes sure that it is one.
  static func makePrivate(_ path: String) throws(SystemError) {
    if let slash = path.lastIndex(of: "/"), slash > path.startIndex {
      let parent = String(path[..<slash])
      var status = stat()
      if stat(parent, &status) != 0 { try makePrivate(parent) }
    }
    guard mkdir(path, 0o700) != 0 else { return }
    guard errno == EEXIST else { throw SystemError("mkdir \(path)", Errno(rawValue: errno)) }
    var status = stat()
    guard lstat(path, &status) == 0 else { throw SystemError("stat \(path)", Errno(rawValue: errno)) }
    guard status.st_mode & S_IFMT == S_IFDIR else { throw SystemError("mkdir \(path)", .notDirectory) }
    guard status.st_uid == geteuid(), status.st_mode & 0o077 == 0 else {
      throw SystemError("use \(path), which is not for the daemon's user only", .permissionDenied)
    }
  }

  /// How many links a path may lead through, as for the kernel (path_resolution(7)).
  private static let linkLimit = 40

  /// The first folder on the way to a path in which somebody else could put something in the place of what is there: it
  /// is neither root's nor the user's own, or everybody may write to it and remove what is another's. A link is one too,
  /// when it is somebody else's. What its group may do is the operator's word.
  ///
  /// - Parameters:
  ///   - path: an absolute path. What is not there yet will be the user's own.
  ///   - user: whose processes use it.
  /// - Returns: a sentence's beginning, such as "/a belongs to uid 7"; nil when there is none.
  static func weakness(of path: String, for user: uid_t) -> String? {
    var left = path.split(separator: "/").map(String.init)[...]
    var links = 0
    var resolved = ""
    while true {
      var status = stat()
      let name = resolved.isEmpty ? "/" : resolved
      guard lstat(name, &status) == 0 else { return nil }
      guard status.st_uid == 0 || status.st_uid == user else {
        return "\(name) belongs to uid \(status.st_uid)"
      }
      if status.st_mode & S_IFMT == S_IFLNK {
        links += 1
        var target = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let length = readlink(name, &target, target.count)
        guard length > 0, links <= linkLimit else { return nil }
        let text = String(decoding: target[..<length], as: UTF8.self)
        left = text.split(separator: "/").map(String.init) + left
        resolved = text.hasPrefix("/") ? "" : parent(resolved)
      } else if status.st_mode & S_IWOTH != 0, status.st_mode & S_ISVTX == 0 {
        return "\(name) may be written to by everybody"
      }
      while left.first == "." || left.first == ".." {
        if left.removeFirst() == ".." { resolved = parent(resolved) }
      }
      guard let next = left.popFirst() else { return nil }
      resolved += "/\(next)"
    }
  }

  private static func parent(_ path: String) -> String {
    path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ""
  }

  /// Gives what git has fetched into a directory the packs that the mirror has already.
  func lendPacks(to directory: String) throws(SystemError) {
    try Self.linkPacks(from: repository, to: directory)
  }

  /// What references of the mirror meant and none of what git has fetched into a directory means any more.
  ///
  /// - Returns: object ids; nil when one was a tag's, whose own object no walk of commits would find.
  func droppedTips(by directory: String) -> [String]? {
    let (old, new) = (Self.references(of: repository), Self.references(of: directory))
    let kept = Set(new.map(\.object))
    let dropped = old.filter { !kept.contains($0.object) }
    guard !dropped.contains(where: { $0.name.hasPrefix("refs/tags/") }) else { return nil }
    return Set(dropped.map(\.object)).sorted()
  }

  /// All references of a repository in which git has just packed them, a detached HEAD among them.
  private static func references(of directory: String) -> [(object: String, name: String)] {
    func text(_ name: String) -> String {
      String(decoding: (try? read("\(directory)/\(name)")) ?? [], as: UTF8.self)
    }
    let lines = text("packed-refs").split(separator: "\n")
    var found = lines.compactMap { line -> (object: String, name: String)? in
      let words = line.split(separator: " ", maxSplits: 1)
      guard words.count == 2, let first = words[0].first, first.isHexDigit else { return nil }
      return (String(words[0]), String(words[1]))
    }
    let head = text("HEAD").prefix { !$0.isNewline }
    if !head.isEmpty, head.allSatisfy(\.isHexDigit) { found.append((String(head), "HEAD")) }
    return found
  }

  /// Puts a directory in the place of the repository, for good. What was there becomes `removed`.
  func replace(by directory: String, removed: String) throws(SystemError) {
    let stamp = "\(directory)/\(Self.stampName)"
    try Self.write(try Self.stamp(of: directory), to: stamp)
    guard rename(repository, removed) == 0 || errno == ENOENT else {
      throw SystemError("rename \(repository)", Errno(rawValue: errno))
    }
    guard rename(directory, repository) == 0 else {
      throw SystemError("rename \(directory)", Errno(rawValue: errno))
    }
  }

  /// Makes a bare repository that has all that the mirror has now, whatever becomes of the mirror.
  func copy(to directory: String) throws(SystemError) {
    for name in ["", "/refs", "/objects", "/objects/pack"] {
      let made = directory + name
      guard mkdir(made, 0o700) == 0 else { throw SystemError("mkdir \(made)", Errno(rawValue: errno)) }
    }
    for name in Self.headFiles {
      try Self.link("\(repository)/\(name)", to: "\(directory)/\(name)", isOptional: name == "packed-refs")
    }
    try Self.linkPacks(from: repository, to: directory)
  }

  private static func linkPacks(from source: String, to directory: String) throws(SystemError) {
    for name in try names(in: "\(source)/objects/pack") where name.hasPrefix("pack-") {
      try link("\(source)/objects/pack/\(name)", to: "\(directory)/objects/pack/\(name)")
    }
  }

  private static func link(_ path: String, to new: String, isOptional: Bool = false) throws(SystemError) {
    // A pack of the same name has the same objects.
    guard Glibc.link(path, new) != 0, errno != EEXIST, !(isOptional && errno == ENOENT) else { return }
    throw SystemError("link \(path)", Errno(rawValue: errno))
  }

  // MARK: Removing

  /// Removes at most so many entries of a tree; following no link.
  ///
  /// - Returns: whether all of it has gone.
  static func remove(_ path: String, entries: Int) throws(SystemError) -> Bool {
    var left = entries
    return try remove(path, left: &left)
  }

  private static func remove(_ path: String, left: inout Int) throws(SystemError) -> Bool {
    guard left > 0 else { return false }
    var status = stat()
    guard lstat(path, &status) == 0 else { return true }
    guard status.st_mode & S_IFMT == S_IFDIR else {
      left -= 1
      guard unlink(path) == 0 || errno == ENOENT else {
        throw SystemError("unlink \(path)", Errno(rawValue: errno))
      }
      return true
    }
    for name in try names(in: path, limit: left) {
      guard try remove("\(path)/\(name)", left: &left) else { return false }
    }
    guard left > 0 else { return false }
    left -= 1
    guard rmdir(path) == 0 || errno == ENOENT else {
      guard errno == ENOTEMPTY else { throw SystemError("rmdir \(path)", Errno(rawValue: errno)) }
      return false
    }
    return true
  }

  // MARK: Calls

  /// The names in a directory, at most so many.
  static func names(in path: String, limit: Int = .max) throws(SystemError) -> [String] {
    guard let directory = opendir(path) else { throw SystemError("open \(path)", Errno(rawValue: errno)) }
    defer { closedir(directory) }
    var names: [String] = []
    while names.count < limit, let entry = readdir(directory) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names
  }

  /// All of a file.
  static func read(_ path: String) throws(SystemError) -> [UInt8] {
    let raw = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard raw >= 0 else { throw SystemError("open \(path)", Errno(rawValue: errno)) }
    let file = Descriptor(owning: raw)
    var bytes: [UInt8] = []
    while true {
      let chunk = [UInt8](unsafeUninitializedCapacity: 1 << 16) { buffer, filled in
        filled = max(0, Glibc.read(file.raw, buffer.baseAddress, buffer.count))
      }
      guard !chunk.isEmpty else { return bytes }
      bytes += chunk
    }
  }

  private static func write(_ bytes: [UInt8], to path: String) throws(SystemError) {
    let raw = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard raw >= 0 else { throw SystemError("open \(path)", Errno(rawValue: errno)) }
    let file = Descriptor(owning: raw)
    guard bytes.withUnsafeBytes({ Glibc.write(file.raw, $0.baseAddress, $0.count) }) == bytes.count else {
      throw SystemError("write \(path)", Errno(rawValue: errno))
    }
  }
}
