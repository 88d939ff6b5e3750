// How problems are told: all at once, by file, line, profile and field, with what to do.

import Glibc
import Profiles
import Testing

@Suite("The problems of a configuration")
struct ProblemTests {
  @Test("are told all at once, in the order of the file")
  func allAtOnce() {
    let text = """
      [daemon]
      socket = "/run/s"
      pid_file = 7

      [[profiles]]
      name = "Alpha"
      base_image = "-x"
      command = []
      repo = "ftp://h/r"

      [[profiles]]
      name = "beta"
      base_image = "image"
      methodology_dir = "m"
      command = [
        "/bin/sh",
        '''
      name = "not a field"
      [[profiles]]
      ''',
        "",
      ]
      schedule = "0 0 * *"
      comand = "x"

      [[profiles.mounts]]
      source = "/missing/a"
      target = "/home/beta"

      [[profiles.credentials]]
      name = "PROFILE_NAME"
      source = "A"

      [[profiles.credentials]]
      name = "A"
      """
    let lines = problems(text).map { problem in
      [problem.line.map(String.init), problem.profile, problem.field].map { $0 ?? "-" }.joined(
        separator: " | ")
    }
    #expect(
      lines == [
        "2 | - | -",
        "3 | - | daemon.pid_file",
        "5 | number 1 | methodology_dir",
        "6 | number 1 | name",
        "7 | number 1 | base_image",
        "8 | number 1 | command",
        "9 | number 1 | repo",
        "15 | beta | command",
        "23 | beta | schedule",
        "23 | beta | schedule",
        "24 | beta | -",
        "26 | beta | mount number 1, read_only",
        "27 | beta | mount number 1, source",
        "28 | beta | mount number 1, target",
        "31 | beta | credential number 1, name",
        "34 | beta | credential number 2, source",
      ])
  }

  @Test("read as one line each: file, line, profile, field and what to do")
  func description() {
    do {
      _ = try configuration(profile("base_image", "''") + profile(name: "b c"))
      Issue.record("it was accepted")
    } catch {
      #expect(
        "\(error)" == """
          /etc/agentd/agentd.toml:5: profile alpha, base_image: must not be empty
          /etc/agentd/agentd.toml:7: profile number 2, name: "b c" is not a profile's name; use a-z first, then \
          a-z, 0-9, _ or -, at most 32
          """)
    }
  }

  @Test("a syntax error is alone, with its line")
  func syntaxError() {
    let found = problems("[daemon]\nsocket = 5\nname == 'x'\n" + profile("base_image", "''"))
    #expect(found.count == 1)
    #expect(found.first?.line == 3)
    #expect(found.first?.message.hasPrefix("is not TOML, correct this line: ") == true)
    #expect(problems(profile() + "name = 'again'\n").map(\.line) == [7], "a key that is there twice")
    #expect(problems("\u{1b} = 1\n").first?.description.contains("\u{1b}") == false)
  }

  @Test("unknown keys are refused at every level, with the key that was probably meant")
  func unknownKeys() {
    #expect(
      complaints("deamon = 1\n" + profile()) == [
        "-: unknown key \"deamon\"; did you mean daemon?"
      ])
    #expect(
      complaints("[other]\n" + profile()) == [
        "-: unknown key \"other\"; take it out; known here: daemon, profiles"
      ])
    #expect(
      complaints(profile("base-image = 'x'\nmethodology = 'x'")).sorted() == [
        "-: unknown key \"base-image\"; did you mean base_image?",
        "-: unknown key \"methodology\"; take it out; known here: name, base_image, methodology_dir, command, "
          + "repo, schedule, timezone, overlap, jitter, repo_token_source, repo_cache, mounts, credentials",
      ])
    #expect(
      complaints(profile("[profiles.mount]\n")) == ["-: unknown key \"mount\"; did you mean mounts?"])
  }

  @Test("a key cannot break the line that tells of it")
  func unprintableKey() {
    #expect(
      complaints("\"a\\n\\u001b\" = 1\n" + profile()) == [
        "-: unknown key \"a\\u{a}\\u{1b}\"; take it out; known here: daemon, profiles"
      ])
    let long = String(repeating: "k", count: 1000)
    #expect(
      complaints("\(long) = 1\n" + profile()).first?.hasSuffix(
        "...\"; take it out; known here: daemon, profiles") == true)
  }

  @Test("at least one profile is needed")
  func noProfiles() {
    #expect(complaints("") == ["profiles: is missing; add a [[profiles]] table"])
    #expect(complaints("profiles = []") == ["profiles: must not be empty; add a [[profiles]] table"])
    #expect(
      complaints("[profiles]\nname = 'a'") == [
        "profiles: must be an array of tables, not a table; begin each with [[profiles]]"
      ])
  }

  @Test("lines are found in files with Windows line endings, comments, dotted keys and inline tables")
  func lines() {
    #expect(
      problems("# c\r\n\r\n" + profile("base_image", "''").replacing("\n", with: "\r\n")).map(\.line) == [7])
    let inline =
      "profiles = [\n { name = 'a', base_image = 'i', methodology_dir = 'm', command = ['c'], x = 1 },\n]"
    #expect(problems(inline).map(\.line) == [1])
    #expect(problems("daemon.pid_file = ''\n" + profile()).map(\.line) == [1])
    #expect(problems(profile() + "[daemon]\naudit_root = ''\n").map(\.line) == [8])
    #expect(problems(profile("mounts = [\n{ source = '/a', target = '/b' }]")).map(\.line) == [6])
  }

  @Test("a file with a NUL in it, written out or escaped, is refused rather than cut short")
  func nul() {
    #expect(problems("# a\n# b\0\n" + profile()).map(\.line) == [2])
    #expect(problems(profile("base_image", "\"a\\u0000b\"")).count == 1)
    #expect(problems(profile("base_image", "\"a\\U00000000b\"")).count == 1)
    #expect(problems(profile("base_image", "\"a\\u0000\u{301}\"")).count == 1)
    #expect(problems(profile() + "\"name\\u0000x\" = 'y'\n").count == 1)
    #expect(problems(profile("command", "['printf', '\\u0000', \"\\\\u0000\"]")).isEmpty)
  }

  @Test("a file has at most 1 MiB and 10,000 profiles")
  func limits() {
    #expect(
      complaints("#" + String(repeating: " ", count: 1 << 20)).first?.contains("larger than 1048576 bytes")
        == true)
    let many = String(repeating: "[[profiles]]\n", count: 10_001)
    #expect(complaints(many).first == "profiles: has 10001 elements; use at most 10000")
  }

  @Test("values nested more deeply than any field are refused without being followed")
  func depth() {
    #expect(
      problems(
        "x = " + String(repeating: "[", count: 200) + String(repeating: "]", count: 200) + "\n" + profile()
      ).count == 1)
    #expect(problems(String(repeating: "a.", count: 1000) + "a = 1\n" + profile()).count == 1)
  }

  @Test("a file that cannot be read says why, by its absolute path")
  func unreadable() throws {
    func load(_ path: String) -> String {
      do {
        _ = try Configuration.load(path: path, host: testHost())
        return "accepted"
      } catch {
        return error.description
      }
    }
    #expect(
      load("none.toml")
        == "/srv/here/none.toml: cannot be read: No such file or directory; "
        + "create it or name another with --config")
    #expect(load("/").hasPrefix("/: cannot be read: Is a directory"))
    #expect(load("/dev/zero").hasPrefix("/dev/zero: is larger than 1048576 bytes"))
  }

  @Test("a file that is not UTF-8 is refused with its line")
  func notUTF8() throws {
    var template = Array("/tmp/agentd-profiles-XXXXXX".utf8CString)
    let descriptor = mkstemp(&template)
    let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer {
      close(descriptor)
      unlink(path)
    }
    let bytes = Array("# ä\n# ".utf8) + [0xff, 0x0a]
    #expect(bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) } == bytes.count)
    #expect(throws: ConfigurationError.self) { try Configuration.load(path: path, host: testHost()) }
    do {
      _ = try Configuration.load(path: path, host: testHost())
    } catch {
      #expect(error.problems.map(\.line) == [2])
      #expect(error.problems.map(\.message) == ["is not UTF-8; save the file in that encoding"])
    }
  }
}
