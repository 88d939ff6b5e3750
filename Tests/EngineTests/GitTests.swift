// What the daemon says to git, and what it makes of git's words.

import Testing

@testable import Engine

@Suite("git's command lines")
struct GitTests {
  private let git = Git(executable: "/usr/bin/git")
  private let token = Array("t0k'en".utf8)

  @Test("a fetch names URL and directory behind --, runs no hooks and leaves nothing running")
  func fetch() {
    let words = git.fetch("git://h/r", into: "/cache/new", hasToken: false)
    #expect(
      words.suffix(7) == ["clone", "--quiet", "--bare", "--template=", "--", "git://h/r", "/cache/new"])
    for setting in [
      "gc.auto=0", "core.hooksPath=/dev/null", "credential.helper=", "http.followRedirects=initial",
    ] {
      #expect(words.contains(setting))
    }
    #expect(!words.contains { $0.contains("AGENTD_CLONE_TOKEN") })
  }

  @Test("the helper is named for scheme, host and port of the URL, and holds no token")
  func helper() throws {
    let words = git.fetch("https://h.example:8443/a/b.git", into: "/new", hasToken: true)
    let helpers = words.filter { $0.contains(".helper=") }
    #expect(helpers.count == 2)
    #expect(helpers.first == "credential.helper=")
    #expect(helpers.last?.hasPrefix("credential.https://h.example:8443.helper=!") == true)
    #expect(git.fetch("http://h/r", into: "/new", hasToken: true).count { $0.contains(".helper=") } == 1)
  }

  @Test("the environment is made from nothing, but for how the host reaches the network")
  func environment() {
    let variables = Git.environment(from: [
      "PATH": "/bin", "https_proxy": "http://p", "SSL_CERT_FILE": "/ca", "HOME": "/root", "GIT_DIR": "/x",
      "GIT_CONFIG_COUNT": "1", "GIT_SSH_COMMAND": "x", "GIT_TRACE": "1", "GIT_SSL_NO_VERIFY": "1",
      "LD_PRELOAD": "x", "MODEL_API_KEY": "secret",
    ])
    let names = Set(variables.map { $0.prefix { $0 != "=" } })
    #expect(
      names == [
        "PATH", "https_proxy", "SSL_CERT_FILE", "HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_NOSYSTEM",
        "GIT_CONFIG_GLOBAL", "GIT_TERMINAL_PROMPT", "GIT_ASKPASS", "SSH_ASKPASS", "GIT_ALLOW_PROTOCOL",
        "LC_ALL",
        "GIT_DEFAULT_REF_FORMAT", "GIT_DEFAULT_HASH",
      ])
    #expect(variables.contains("HOME=/nonexistent"))
    #expect(variables.contains("GIT_ALLOW_PROTOCOL=https:http:git"))
  }

  @Test("a token of any bytes is a variable that every shell's printf %b gives back")
  func variable() {
    #expect(Git.variable(for: [0x41, 0xff, 0x0a]) == "AGENTD_CLONE_TOKEN=\\0101\\0377\\0012")
  }

  @Test("a path with a colon is quoted, because git divides the variable there")
  func alternates() {
    #expect(Git.variable(forObjectsOf: "/a b") == "GIT_ALTERNATE_OBJECT_DIRECTORIES=/a b/objects")
    #expect(
      Git.variable(forObjectsOf: "/a:\"b") == "GIT_ALTERNATE_OBJECT_DIRECTORIES=\"/a:\\\"b/objects\"")
  }

  @Test("the last words are those that tell, in one line, without the token and what steers a terminal")
  func lastWords() {
    func words(_ text: String) -> String { Git.lastWords(Array(text.utf8), token: token) }
    #expect(
      words(
        "Cloning into 'x'...\nremote: No \u{1b}[31mt0k'en here\nfatal: Authentication failed for 'https://h/'\n"
      )
        == "remote: No  [31m... here; fatal: Authentication failed for 'https://h/'")
    #expect(
      words("fatal: Could not read from remote repository.\n\nPlease make sure\nthe repository exists.\n")
        == "fatal: Could not read from remote repository.")
    #expect(words("sh: git: not found\n") == "sh: git: not found")
    #expect(words("") == "")
    let long = words("fatal: " + String(repeating: "é", count: 2000) + " the end")
    #expect(long.utf8.count <= Git.sentenceLimit && long.hasSuffix("the end"))
  }

  @Test(
    "the mirror is to blame where git names it or misses an object, never for what the server says",
    arguments: [
      ("error: packfile /c/m/objects/pack/pack-1.pack does not match index\n", true),
      ("fatal: bad config line 1 in file /c/m/config\n", true),
      ("fatal: did not receive expected object 8cd5ff626b71\n", true),
      ("fatal: Authentication failed for 'https://h/'\n", false),
      ("remote: error in /c/m/objects\nfatal: the remote end hung up\n", false),
      ("fatal: cannot write /c/m-2/objects/pack\n", false), ("", false),
    ])
  func blame(_ words: String, _ isMirror: Bool) {
    #expect(Git.blames("/c/m", Array(words.utf8)) == isMirror)
  }
}
