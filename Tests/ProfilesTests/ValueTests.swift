// Values that are also given on the command line: repository URLs and work units.

import Profiles
import Testing

@Suite("A repository URL")
struct RepositoryURLTests {
  @Test(
    "is https, http or git with a host and a path",
    arguments: [
      "https://github.com/a/b.git", "http://127.0.0.1:8080/repo", "git://host/x", "https://h/@scope/p",
      "https://[::1]:9418/r", "https://h:65535/~user/r/", "https://h//r", "https://xn--bcher-kva.example/ä",
      "https://h/a%20b", "https://a_b.c/-r",
    ])
  func accepted(text: String) throws {
    let url = try RepositoryURL(text)
    #expect(url.text == text)
    #expect(url.isHTTPS == text.hasPrefix("https://"))
    #expect(try configuration(profile("repo = '\(text)'")).profiles[0].repository == url)
  }

  @Test(
    "is refused with a reason that does not repeat it",
    arguments: [
      ("", "must start with"), ("github.com/a/b", "must start with"),
      ("ssh://git@h/hunter2", "must start with"),
      ("git@h:hunter2", "must start with"), ("file:///hunter2", "must start with"),
      ("HTTPS://h/r", "must start with"),
      ("--upload-pack=hunter2", "must start with"), ("ext::sh -c hunter2", "must start with"),
      (" https://h/hunter2", "must start with"), ("https:/h/hunter2", "must start with"),
      ("https://user:hunter2@h/r", "must not hold a user name or a password"),
      ("https://hunter2@h/r", "must not hold a user name"), ("https://@h/r", "must not hold a user name"),
      ("https://h/r?token=hunter2", "must not hold a query"),
      ("https://h/r#hunter2", "must not hold a query"),
      ("https://h?hunter2", "must not hold a query"),
      ("https://h/hunter2 x", "must not hold a blank"), ("https://h/hunter2\n", "must not hold a blank"),
      ("https://h/hunter2\u{7f}", "must not hold a blank"),
      ("https://h/\u{2028}hunter2", "must not hold a blank"),
      ("https://h/\u{a0}hunter2", "must not hold a blank"),
      ("https://h/hunter2%0a", "must not hold a backslash or an encoded control"),
      ("https://h%0Dhunter2/r", "must not hold a backslash or an encoded control"),
      ("https://h/%00hunter2", "must not hold a backslash or an encoded control"),
      ("https://h\\hunter2/r", "must not hold a backslash"),
      ("https:///hunter2", "must name a host"), ("https://:80/hunter2", "must name a host"),
      ("https://h:/hunter2", "must name a host"), ("https://h:0/hunter2", "must name a host"),
      ("https://h:65536/hunter2", "must name a host"), ("https://h:x/hunter2", "must name a host"),
      ("https://-oProxyCommand=hunter2/r", "must name a host"), ("https://[::1/hunter2", "must name a host"),
      ("https://[]/hunter2", "must name a host"), ("https://[::1]x/hunter2", "must name a host"),
      ("https://user:hun/ter2@h/r", "must name a host"), ("https://h$hunter2/r", "must name a host"),
      ("https://hunter2", "must name a repository"), ("https://hunter2/", "must name a repository"),
      ("git://hunter2//", "must name a repository"),
    ])
  func refused(text: String, message: String) {
    do {
      _ = try RepositoryURL(text)
      Issue.record("it was accepted")
    } catch {
      #expect(error.message.hasPrefix(message), "\(error)")
      #expect(!error.message.contains("hunter2"))
    }
  }

  @Test("a refused one in a file is not repeated either")
  func refusedInAFile() {
    let found = problems(profile("repo = 'https://user:hunter2@h/r'"))
    #expect(found.map(\.field) == ["repo"])
    #expect(found.first?.description.contains("hunter2") == false)
  }

  @Test("has at most 2048 bytes")
  func limit() throws {
    let longest = "https://h/" + String(repeating: "r", count: 2038)
    #expect(try RepositoryURL(longest).text.utf8.count == 2048)
    #expect(throws: InvalidValue.self) { try RepositoryURL(longest + "r") }
  }
}

@Suite("A work unit")
struct WorkUnitTests {
  @Test("is any line of 1 to 256 bytes", arguments: ["issue-42", "a b", "-x", "ä", "$(id)", "'"])
  func accepted(text: String) throws {
    #expect(try WorkUnit(text).text == text)
  }

  @Test(
    "is refused when it is empty, too long or more than a line",
    arguments: ["", "a\n", "\t", "\0", "\u{1b}", "\u{85}"])
  func refused(text: String) {
    #expect(throws: InvalidValue.self) { try WorkUnit(text) }
  }

  @Test("counts bytes, not characters")
  func limit() throws {
    #expect(try WorkUnit(String(repeating: "ä", count: 128)).text.utf8.count == 256)
    #expect(throws: InvalidValue.self) { try WorkUnit(String(repeating: "ä", count: 128) + "a") }
  }
}
