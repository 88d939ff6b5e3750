// The fields of a profile: what each accepts and refuses.

import Profiles
import Testing

@Suite("A profile")
struct ProfileTests {
  @Test("the smallest one has defaults for everything else")
  func smallest() throws {
    let profile = try #require(configuration(profile()).profiles.first)
    #expect(profile.methodologyDirectory == "/etc/agentd/method")
    #expect(profile.command == ["/bin/true"])
    #expect(profile.repository == nil)
    #expect(profile.schedule == nil)
    #expect(profile.repositoryTokenSource == nil)
    #expect(profile.mounts.isEmpty && profile.credentials.isEmpty)
  }

  @Test(
    "names begin with a-z and go on with a-z, 0-9, _ and -, up to 32",
    arguments: ["a", "a-b_9", "rooted", "z0"])
  func names(name: String) throws {
    #expect(try configuration(profile(name: name)).profiles[0].name == name)
    let longest = String(repeating: "n", count: 32)
    #expect(try configuration(profile(name: longest)).profiles[0].name == longest)
  }

  @Test(
    "other names are refused",
    arguments: [
      "A", "aB", "9a", "-a", "_a", "a b", "a.b", "a/b", "ä", "aä", String(repeating: "n", count: 33),
    ])
  func badNames(name: String) {
    let found = problems(profile(name: name))
    #expect(found.count == 1)
    #expect(found.first?.field == "name")
    #expect(found.first?.profile == "number 1")
    #expect(found.first?.message.contains("use a-z first, then a-z, 0-9, _ or -, at most 32") == true)
  }

  @Test(
    "names of system users are refused", arguments: ["root", "nobody", "daemon", "bin", "sys", "man", "mail"])
  func reservedNames(name: String) {
    #expect(
      complaints(profile(name: name)) == ["name: \"\(name)\" is the name of a system user; use another name"])
  }

  @Test("names are unique")
  func uniqueNames() {
    let found = problems(profile() + profile(name: "beta") + profile())
    #expect(found.map(\.profile) == ["number 3"])
    #expect(found.map(\.message) == ["\"alpha\" is the name of profile number 1 as well; use another name"])
  }

  @Test(
    "required fields are missed by name", arguments: ["name", "base_image", "methodology_dir", "command"])
  func requiredFields(field: String) {
    let found = problems(profile(without: field))
    #expect(found.map(\.field) == [field])
    #expect(found.first?.message.hasPrefix("is missing; set it to") == true)
    #expect(found.first?.line == 1, "the header's line stands for a field that is not there")
  }

  @Test(
    "a value of another type is refused by the name of the right one",
    arguments: [
      ("name", "5", "must be a string, not an integer"),
      ("base_image", "1.5", "must be a string, not a floating-point number"),
      ("methodology_dir", "['a']", "must be a string, not an array"),
      ("command", "'/bin/true'", "must be an array of strings, not a string"),
      ("command", "[['/bin/true']]", "word 1 must be a string, not an array"),
      ("command", "['/bin/true', 5]", "word 2 must be a string, not an integer"),
      ("repo", "{ url = 'https://a/b' }", "must be a string, not a table"),
      ("schedule", "2026-01-01", "must be a string, not a date"),
      ("repo_token_source", "false", "must be a string, not a boolean"),
      ("mounts", "'/a'", "must be an array of tables, not a string; begin each with [[profiles.mounts]]"),
      ("mounts", "['/a']", "number 1 must be a table, not a string"),
      (
        "credentials", "{ name = 'A', source = 'B' }",
        "must be an array of tables, not a table; begin each with"
      ),
    ])
  func wrongTypes(field: String, value: String, message: String) {
    let found = problems(profile(field, value))
    #expect(found.map(\.field) == [field])
    #expect(found.first?.message.hasPrefix(message) == true, "\(found)")
  }

  @Test(
    "images are taken as podman takes them",
    arguments: ["ghcr.io/a/b:latest", "localhost/x", "a@sha256:00", "oci-archive:/tmp/a.tar"])
  func images(image: String) throws {
    #expect(try configuration(profile("base_image", "'\(image)'")).profiles[0].baseImage == image)
  }

  @Test(
    "an image that podman could take for something else is refused",
    arguments: ["''", "'-v'", "'a b'", "' a'", "\"a\\n\"", "\"a\\u001b[0m\"", "\"a\\u00a0b\""])
  func badImages(value: String) {
    #expect(problems(profile("base_image", value)).map(\.field) == ["base_image"])
  }

  @Test("an image reference has at most 1024 bytes")
  func imageLimit() {
    let value = "'" + String(repeating: "i", count: 1025) + "'"
    #expect(complaints(profile("base_image", value)).first?.contains("longer than 1024 bytes") == true)
  }

  @Test("methodology_dir may be absolute, hold blanks and commas, and need not exist yet")
  func methodology() throws {
    let configuration = try configuration(profile("methodology_dir", "'/missing/a, b/../c'"))
    #expect(configuration.profiles[0].methodologyDirectory == "/missing/c")
    let spaced = try Configuration.parse(
      profile("methodology_dir", "'m, n'"), path: "/etc/agentd d/agentd.toml", host: testHost())
    #expect(spaced.profiles[0].methodologyDirectory == "/etc/agentd d/m, n")
    let odd = try Configuration.parse(
      profile("methodology_dir", "'/a:b,\"c'"), path: "/etc/agentd/agentd.toml", host: testHost())
    #expect(odd.profiles[0].methodologyDirectory == "/a:b,\"c")
  }

  @Test(
    "methodology_dir must be a path that can be mounted",
    arguments: ["''", "\"a\\tb\""])
  func badMethodology(value: String) {
    #expect(problems(profile("methodology_dir", value)).map(\.field) == ["methodology_dir"])
  }

  @Test("a command may hold newlines, tabs and any printable character")
  func command() throws {
    let configuration = try configuration(
      profile("command", "['/bin/sh', '-c', \"a\\n\\tb 'ä' \\\\u0000\", ' ']"))
    #expect(configuration.profiles[0].command == ["/bin/sh", "-c", "a\n\tb 'ä' \\u0000", " "])
  }

  @Test(
    "a command that could not be run as written is refused",
    arguments: [
      ("[]", "must not be empty; use 1 to 1024 strings"),
      ("['']", "word 1 must not be empty"),
      ("['/bin/sh', '']", "word 2 must not be empty"),
      ("[\"/bin/sh\\u001b\"]", "word 1 must not hold a control character other than newline and tab"),
      ("[\"a\\r\\nb\"]", "word 1 holds a carriage return; save the file with Unix line endings"),
    ])
  func badCommands(value: String, message: String) {
    let found = problems(profile("command", value))
    #expect(found.map(\.field) == ["command"])
    #expect(found.first?.message.hasPrefix(message) == true, "\(found)")
  }

  @Test("a command has at most 1024 words of at most 131071 bytes")
  func commandLimits() {
    let words = "[" + String(repeating: "'a',", count: 1025) + "]"
    #expect(complaints(profile("command", words)).first?.contains("has 1025 words") == true)
    let longest = String(repeating: "w", count: 131_071)
    #expect(complaints(profile("command", "['\(longest)']")).isEmpty)
    #expect(complaints(profile("command", "['\(longest)w']")).first?.contains("131071 bytes") == true)
  }

  @Test("an empty repo_token_source means none")
  func emptyTokenSource() throws {
    let text = "repo = 'http://a/b'\nrepo_token_source = ''"
    #expect(try configuration(profile(text)).profiles[0].repositoryTokenSource == nil)
  }

  @Test("a clone token needs an https repository", arguments: ["http://a/b", "git://a/b"])
  func tokenNeedsHTTPS(url: String) {
    #expect(
      complaints(profile("repo = '\(url)'\nrepo_token_source = 'TOKEN'")) == [
        "repo_token_source: would send the token unencrypted; use an https:// repo or leave it out"
      ])
  }

  @Test("a clone token without a repository waits for the invocation's")
  func tokenWithoutRepository() throws {
    let profile = try configuration(profile("repo_token_source = 'TOKEN'")).profiles[0]
    #expect(profile.repositoryTokenSource == "TOKEN")
    #expect(throws: InvalidValue.self) { try profile.repository(given: nil) }
    #expect(throws: InvalidValue.self) { try profile.repository(given: RepositoryURL("http://a/b")) }
    #expect(try profile.repository(given: RepositoryURL("https://a/b")).text == "https://a/b")
  }

  @Test("sessions clone from a mirror unless the profile says otherwise")
  func repositoryCache() throws {
    #expect(try configuration(profile()).profiles[0].repositoryCache)
    #expect(try configuration(profile("repo_cache = true")).profiles[0].repositoryCache)
    #expect(try !configuration(profile("repo_cache = false")).profiles[0].repositoryCache)
    #expect(
      complaints(profile("repo_cache = 'no'")) == [
        "repo_cache: must be a boolean, true or false, not a string"
      ])
  }

  @Test("the invocation's repository goes before the profile's")
  func repositoryOverride() throws {
    let profile = try configuration(profile("repo = 'git://a/b'")).profiles[0]
    #expect(try profile.repository(given: nil).text == "git://a/b")
    #expect(try profile.repository(given: RepositoryURL("http://c/d")).text == "http://c/d")
  }

  @Test(
    "a repo_token_source that is no variable's name is refused and not repeated",
    arguments: ["sk-secret", "$TOKEN", "A B", "9A", "A=B"])
  func badTokenSource(value: String) {
    let found = complaints(profile("repo_token_source = '\(value)'"))
    #expect(found.count == 1)
    #expect(found.first?.hasPrefix("repo_token_source: must be the name of an environment variable") == true)
    #expect(found.first?.contains(value) == false)
  }
}
