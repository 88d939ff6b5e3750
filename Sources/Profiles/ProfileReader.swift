// Reads one [[profiles]] table into a profile, field by field.

extension Profile {
  private static let keys =
    ["name", "base_image", "methodology_dir", "command", "repo"] + ScheduledRuns.keys
    + ["repo_token_source", "repo_cache", "mounts", "credentials"]

  /// Names that a base image has given to users of its own.
  private static let reservedNames = ["root", "nobody", "daemon", "bin", "sys", "man", "mail"]

  /// Reads the table; nil after at least one report.
  ///
  /// - Parameters:
  ///   - table: The table, which problems are reported for by its valid name or else by its number.
  ///   - number: Its place in the file, from 1.
  ///   - taken: Names of the profiles before it, with their numbers; its own is added.
  ///   - folder: The folder of the configuration file.
  ///   - host: What the rules need to know of the machine.
  ///   - zones: The zones of this load.
  init?(
    _ table: Section, number: Int, taken: inout [String: Int], folder: String, host: Host, zones: Zones
  ) {
    var section = table
    section.profile = "number \(number)"
    let name = Self.name(section, number: number, taken: &taken)
    if let name { section.profile = name }
    section.refuseKeys(except: Self.keys)
    let image = Self.image(section)
    let methodology = Self.methodology(section, folder: folder)
    let command = Self.command(section)
    let repository = Self.repository(section)
    let schedule = ScheduledRuns(section, name: name, zones: zones)
    let tokenSource = Self.tokenSource(section, repository: repository)
    let repositoryCache = section.boolean("repo_cache", otherwise: true)
    let mounts = Self.mounts(section, user: name, host: host)
    let credentials = Self.credentials(section)
    guard let name, let image, let methodology, let command else { return nil }
    self.init(
      name: name, baseImage: image, methodologyDirectory: methodology, command: command,
      repository: repository, schedule: schedule, repositoryTokenSource: tokenSource,
      repositoryCache: repositoryCache ?? true, mounts: mounts, credentials: credentials)
  }

  private static func name(_ section: Section, number: Int, taken: inout [String: Int]) -> String? {
    guard let name = section.filledString("name", required: true) else { return nil }
    let bytes = Array(name.utf8)
    let isLower = { (byte: UInt8) in isLetter(byte) && byte & 0x20 != 0 }
    guard
      isLower(bytes[0]), bytes.count <= Limits.nameBytes,
      bytes.allSatisfy({ isLower($0) || isDigit($0) || "_-".utf8.contains($0) })
    else {
      section.report(
        "name",
        "\(name.quoted) is not a profile's name; use a-z first, then a-z, 0-9, _ or -, at most \(Limits.nameBytes)"
      )
      return nil
    }
    guard !reservedNames.contains(name) else {
      section.report("name", "\(name.quoted) is the name of a system user; use another name")
      return nil
    }
    if let other = taken[name] {
      section.report(
        "name", "\(name.quoted) is the name of profile number \(other) as well; use another name")
      return nil
    }
    taken[name] = number
    return name
  }

  private static func image(_ section: Section) -> String? {
    guard let image = section.filledString("base_image", required: true) else { return nil }
    var complaints: [String] = []
    if image.utf8.first == UInt8(ascii: "-") {
      complaints.append("must not begin with -, which podman would take for an option")
    }
    if image.unicodeScalars.contains(where: { isControl($0) || $0.properties.isWhitespace }) {
      complaints.append("must not hold a blank or a control character")
    }
    if image.utf8.count > Limits.imageBytes {
      complaints.append("is longer than \(Limits.imageBytes) bytes; use a shorter reference")
    }
    for complaint in complaints { section.report("base_image", "\(image.quoted) \(complaint)") }
    return complaints.isEmpty ? image : nil
  }

  private static func methodology(_ section: Section, folder: String) -> String? {
    guard let text = section.filledString("methodology_dir", required: true) else { return nil }
    let path = Path.resolve(text, against: folder)
    let complaints = Path.complaints(about: path)
    for complaint in complaints { section.report("methodology_dir", "\(path.quoted) \(complaint)") }
    return complaints.isEmpty ? path : nil
  }

  private static func repository(_ section: Section) -> RepositoryURL? {
    guard let text = section.filledString("repo") else { return nil }
    do {
      return try RepositoryURL(text)
    } catch {
      section.report("repo", error.message)
      return nil
    }
  }

  private static func tokenSource(_ section: Section, repository: RepositoryURL?) -> String? {
    guard let text = section.string("repo_token_source"), !text.isEmpty else { return nil }
    if let repository, !repository.isHTTPS {
      section.report(
        "repo_token_source", "would send the token unencrypted; use an https:// repo or leave it out")
    }
    return Credential.variable(text, "repo_token_source", section)
  }

  private static func command(_ section: Section) -> [String]? {
    guard let value = section.table["command"] else {
      section.report("command", "is missing; set it to an array of strings, the program first")
      return nil
    }
    guard case .array(let elements) = value else {
      section.report("command", "must be an array of strings, not \(value.type)")
      return nil
    }
    guard (1...Limits.commandWords).contains(elements.count) else {
      let advice = elements.isEmpty ? "must not be empty" : "has \(elements.count) words"
      section.report("command", "\(advice); use 1 to \(Limits.commandWords) strings, the program first")
      return nil
    }
    let words = elements.enumerated().compactMap { index, element -> String? in
      guard case .string(let word) = element else {
        section.report("command", "word \(index + 1) must be a string, not \(element.type)")
        return nil
      }
      let complaint = complaint(aboutWord: word)
      if let complaint { section.report("command", "word \(index + 1) \(complaint)") }
      return complaint == nil ? word : nil
    }
    return words.count == elements.count ? words : nil
  }

  private static func complaint(aboutWord word: String) -> String? {
    if word.isEmpty { return "must not be empty" }
    if word.utf8.count > Limits.commandWordBytes {
      return "is longer than the \(Limits.commandWordBytes) bytes that the kernel takes; put it into a file"
    }
    let refused = word.unicodeScalars.first { isControl($0) && $0 != "\n" && $0 != "\t" }
    if refused == "\r" {
      return "holds a carriage return; save the file with Unix line endings"
    }
    return refused == nil ? nil : "must not hold a control character other than newline and tab"
  }

  private static func mounts(_ section: Section, user: String?, host: Host) -> [Mount] {
    var targets: [String] = []
    return section.sections("mounts", limit: Limits.mounts).enumerated().compactMap { index, table in
      var table = table
      table.fieldPrefix = "mount number \(index + 1), "
      let mount = Mount(table, user: user, host: host)
      // Compared whether or not the rest of the mount is right, so that all is told at once.
      if let target = table.absolutePath("target"), target != "/" {
        if let other = targets.first(where: { Path.overlap($0, target) }) {
          table.report(
            "target",
            "\(target.quoted) is, holds or lies within \(other.quoted), the target of another mount; "
              + "keep them apart")
        }
        targets.append(target)
      }
      return mount
    }
  }

  private static func credentials(_ section: Section) -> [Credential] {
    var names: Set<String> = []
    return section.sections("credentials", limit: Limits.credentials).enumerated().compactMap {
      index, table in
      var table = table
      table.fieldPrefix = "credential number \(index + 1), "
      let credential = Credential(table)
      if case .string(let name)? = table.table["name"], !name.isEmpty, !names.insert(name).inserted {
        table.report("name", "\(name.quoted) is the name of another credential as well; use each once")
      }
      return credential
    }
  }
}
