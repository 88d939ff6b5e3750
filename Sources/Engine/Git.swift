// The command lines of git that the daemon runs on the host, their environment, and what git's last words mean.

/// Builds the words after `git`. Pure: running them is the reactor's business.
public struct Git: Sendable, Equatable {
  /// The program to run: an absolute path.
  public let executable: String

  /// What the token is called in git's environment, each byte in octal.
  private static let tokenVariable = "AGENTD_CLONE_TOKEN"
  /// What an operator sets on a host for all of its programs: how to reach the network, and whom to trust there.
  private static let passedVariables: Set<String> = [
    "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "PATH", "TMPDIR",
  ]
  /// The most bytes of git's words that are kept.
  static let sentenceLimit = 500

  /// Names the program.
  public init(executable: String) { self.executable = executable }

  /// Settings of every call: nothing runs beside it or after it, a redirect is followed for the first request only, and a
  /// server that says nothing for a minute is given up (git knows that for http only; the deadline is for the rest).
  private static let settings = [
    "-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "core.fsmonitor=false", "-c",
    "core.hooksPath=/dev/null", "-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=60",
    "-c", "http.followRedirects=initial",
  ]

  /// Fetches what a clone of the repository would get, its default branch included, into a new bare repository.
  ///
  /// - Parameters:
  ///   - repository: an http, https or git URL without user info.
  ///   - directory: where it goes; nothing may be there.
  ///   - hasToken: whether the environment holds a token. git asks for it through a helper that is named for the scheme
  ///     and host of the URL, so a redirect to another host gets nothing.
  func fetch(_ repository: String, into directory: String, hasToken: Bool) -> [String] {
    var words = Self.settings + ["-c", "credential.helper="]
    if hasToken, let host = Self.host(ofHTTPS: repository) {
      let helper =
        "!answer() { [ \"$1\" != get ] || printf 'username=x-access-token\\npassword=%b\\n' "
        + "\"$\(Self.tokenVariable)\"; }; answer"
      words += ["-c", "credential.https://\(host).helper=\(helper)"]
    }
    return words + ["clone", "--quiet", "--bare", "--template=", "--", repository, directory]
  }

  /// Puts all that the references of a bare repository reach into one pack, and drops the rest.
  func consolidate(_ directory: String) -> [String] {
    return ["--git-dir=\(directory)"] + Self.settings + [
      "-c", "repack.writeBitmaps=false", "-c", "pack.threads=1", "repack", "-a", "-d", "-q",
    ]
  }

  /// Prints a commit that one of these leads to and no reference of the repository does, if there is one.
  func unreachable(_ directory: String, from tips: [String]) -> [String] {
    return ["--git-dir=\(directory)"] + Self.settings + ["rev-list", "--max-count=1"] + tips + [
      "--not", "--all",
    ]
  }

  /// Puts the objects that lie in files of their own, as a server without git's protocol gives them, into a pack.
  func pack(_ directory: String) -> [String] {
    return ["--git-dir=\(directory)"] + Self.settings + [
      "-c", "repack.writeBitmaps=false", "repack", "-d", "-q",
    ]
  }

  /// The host, and its port if it names one, of an https URL.
  private static func host(ofHTTPS repository: String) -> Substring? {
    let scheme = "https://"
    guard repository.hasPrefix(scheme) else { return nil }
    return repository.dropFirst(scheme.count).prefix { $0 != "/" }
  }

  /// The whole environment of git: nothing of any user's, no prompt, only the protocols that a `repo` may have.
  ///
  /// - Parameter daemon: the daemon's own, without the secrets of its profiles.
  static func environment(from daemon: [String: String]) -> [String] {
    let passed = daemon.filter { passedVariables.contains($0.key) }.map { "\($0.key)=\($0.value)" }
    return passed.sorted() + [
      "HOME=/nonexistent", "XDG_CONFIG_HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1",
      "GIT_CONFIG_GLOBAL=/dev/null",
      "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=", "SSH_ASKPASS=", "GIT_ALLOW_PROTOCOL=https:http:git",
      "LC_ALL=C",
      // Forms that every git in an image can read, should another one become the standard here.
      "GIT_DEFAULT_REF_FORMAT=files", "GIT_DEFAULT_HASH=sha1",
    ]
  }

  /// The variable by which all that a git has started is found, wherever it went: what it works on, which is for it alone.
  static func mark(of directory: String) -> String { "AGENTD_GIT_WORKS_ON=\(directory)" }

  /// The variable with a token, in octal so that it may hold any byte.
  static func variable(for token: [UInt8]) -> String {
    let octal = token.map { byte in
      "\\0" + [byte >> 6, byte >> 3 & 7, byte & 7].map { String($0) }.joined()
    }
    return "\(tokenVariable)=\(octal.joined())"
  }

  /// The variable by which a fetch finds the objects that the mirror has, so that only others are sent.
  static func variable(forObjectsOf directory: String) -> String {
    // Git takes a quoted path where a colon is in it.
    let path = "\(directory)/objects"
    guard path.utf8.contains(where: { $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: "\"") }) else {
      return "GIT_ALTERNATE_OBJECT_DIRECTORIES=\(path)"
    }
    let quoted = path.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
    return "GIT_ALTERNATE_OBJECT_DIRECTORIES=\"\(quoted)\""
  }

  /// What git and the server said of a failure: one line of at most ``sentenceLimit`` bytes, without the token.
  static func lastWords(_ standardError: [UInt8], token: [UInt8]?) -> String {
    let bytes = token.map { standardError.replacing($0, with: Array("...".utf8)) } ?? standardError
    let lines = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline)
    let telling = lines.filter { line in
      ["fatal: ", "error: ", "remote: "].contains { line.hasPrefix($0) }
    }
    var text = ""
    // The end says most: what failed last. Cut before it is worked on, because a remote may say very much.
    let said = (telling.isEmpty ? lines.suffix(1) : telling).joined(separator: "; ").unicodeScalars
    for scalar in said.suffix(sentenceLimit) {
      switch scalar.properties.generalCategory {
      case .control, .format, .lineSeparator, .paragraphSeparator: text += " "
      default: text.unicodeScalars.append(scalar)
      }
    }
    while text.last == " " { text.removeLast() }
    while text.utf8.count > sentenceLimit { text.removeFirst() }
    return text
  }

  /// Whether git complained of the mirror that it was to find objects in, and not of the remote.
  static func blames(_ directory: String, _ standardError: [UInt8]) -> Bool {
    let text = String(decoding: standardError, as: UTF8.self)
    return text.split(whereSeparator: \.isNewline).contains { line in
      guard !line.hasPrefix("remote: ") else { return false }
      return line.contains("\(directory)/") || line.contains("did not receive expected object")
        || line.contains("did not send all necessary objects")
    }
  }
}
