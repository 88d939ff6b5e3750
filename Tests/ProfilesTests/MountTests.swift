// The mounts of a profile: sources on the host, and targets that stay clear of agentd's and each other's.

import Profiles
import Testing

@Suite("A mount")
struct MountTests {
  private func two(_ first: String, _ second: String) -> String {
    mount(target: first) + "[[profiles.mounts]]\nsource = '/srv'\ntarget = '\(second)'\nread_only = false\n"
  }

  @Test("is read with its source, target and access")
  func read() throws {
    let mounts = try configuration(two("/data", "/home/alpha/.cache")).profiles[0].mounts
    #expect(
      mounts == [
        Mount(source: "/srv/data", target: "/data", readOnly: true),
        Mount(source: "/srv", target: "/home/alpha/.cache", readOnly: false),
      ])
  }

  @Test(
    "a source may hold commas, blanks, quotation marks or colons",
    arguments: ["/a,b", "/a b", "/a\"b", "/a:b", "/ä", "/a*[b]?"])
  func sources(source: String) throws {
    #expect(try configuration(mount(source: source, target: "/data")).profiles[0].mounts[0].source == source)
  }

  @Test("a source is taken without its dots and doubled slashes, as podman takes it")
  func sourceIsResolved() throws {
    #expect(
      try configuration(mount(source: "/a/./b//../c/", target: "/data")).profiles[0].mounts[0].source
        == "/a/c")
  }

  @Test(
    "a source that is relative, missing or unspeakable is refused",
    arguments: [
      ("", "must not be empty"),
      ("srv", "\"srv\" must be an absolute path"),
      ("~/data", "\"~/data\" must be an absolute path"),
      ("/missing/a", "\"/missing/a\" does not exist on this host; create it or correct the path"),
    ])
  func badSources(source: String, message: String) {
    let found = problems(mount(source: source, target: "/data"))
    #expect(found.map(\.field) == ["mount number 1, source"])
    #expect(found.first?.message.hasPrefix(message) == true, "\(found)")
  }

  @Test("a source with a control character is refused")
  func controlCharacterInSource() {
    let text = profile("[[profiles.mounts]]\nsource = \"/a\\nb\"\ntarget = '/data'\nread_only = true")
    #expect(complaints(text).first?.contains("must not hold a control character") == true)
  }

  @Test(
    "a target may hold a colon or a quotation mark, whatever its source holds",
    arguments: [("/a", "/t:u"), ("/a,b", "/t:u"), ("/a\"b", "/t:u"), ("/a:b", "/t\"u"), ("/a:b,c", "/t:\"u")])
  func oddTargets(source: String, target: String) throws {
    let mount = try configuration(mount(source: source, target: target)).profiles[0].mounts[0]
    #expect(mount.source == source)
    #expect(mount.target == target)
  }

  @Test(
    "a target of another shape is refused",
    arguments: [
      ("", "must not be empty"),
      ("data", "\"data\" must be an absolute path"),
      ("/", "\"/\" is reserved"),
      ("/data/", "\"/data/\" must not end with a slash"),
      ("/./data", "\"/./data\" must not hold a . or .. component"),
      ("/data/..", "\"/data/..\" must not hold a . or .. component"),
      ("/data/../x", "\"/data/../x\" must not hold a . or .. component"),
      ("//data", "\"//data\" must not hold a doubled slash"),
      ("/da,ta", "\"/da,ta\" must not hold the character ,"),
      ("/da*ta", "\"/da*ta\" must not hold the character *"),
      ("/da?ta", "\"/da?ta\" must not hold the character ?"),
      ("/da[ta", "\"/da[ta\" must not hold the character ["),
      ("/da]ta", "\"/da]ta\" must not hold the character ]"),
      ("/da\\ta", "\"/da\\ta\" must not hold the character \\"),
      ("/d*?", "\"/d*?\" must not hold the characters * ?"),
    ])
  func badTargets(target: String, message: String) {
    let found = problems(mount(target: target))
    #expect(found.map(\.field) == ["mount number 1, target"])
    #expect(found.first?.message.hasPrefix(message) == true, "\(found)")
  }

  @Test(
    "a target may have components that only begin with dots",
    arguments: ["/.data", "/..data", "/a/...", "/a b"])
  func dottedTargets(target: String) throws {
    #expect(try configuration(mount(target: target)).profiles[0].mounts[0].target == target)
  }

  @Test(
    "agentd's own paths are reserved, what they lie in and what lies in them too",
    arguments: [
      "/agentd", "/agentd/methodology", "/agentd/methodology/x", "/agentd/anything", "/home", "/home/alpha",
      "/home/alpha/repo", "/home/alpha/repo/x", "/home/alpha/.agentd", "/home/alpha/.agentd/x",
    ])
  func reservedTargets(target: String) {
    let found = problems(mount(target: target))
    #expect(found.map(\.field) == ["mount number 1, target"])
    #expect(found.first?.message.hasPrefix("\"\(target)\" is reserved") == true, "\(found)")
  }

  @Test(
    "other paths are free, below the home directory too",
    arguments: [
      "/agentd2", "/agent", "/home2", "/home/beta", "/home/alpha2", "/home/alpha/.claude",
      "/home/alpha/repo2",
      "/home/alpha/repository/x", "/home/alpha/.agentd2", "/home/alpha/a/repo", "/home/beta/repo",
      "/x/agentd",
    ])
  func freeTargets(target: String) throws {
    #expect(try configuration(mount(target: target)).profiles[0].mounts[0].target == target)
  }

  @Test(
    "targets of one profile are unique and not nested in one another",
    arguments: [("/data", "/data"), ("/data", "/data/x"), ("/data/x/y", "/data")])
  func overlappingTargets(first: String, second: String) {
    let found = problems(two(first, second))
    #expect(found.map(\.field) == ["mount number 2, target"])
    #expect(
      found.first?.message.hasPrefix("\"\(second)\" is, holds or lies within \"\(first)\"") == true,
      "\(found)")
  }

  @Test("targets that only begin alike do not overlap, and another profile may use the same one")
  func separateTargets() throws {
    #expect(throws: Never.self) { try configuration(two("/data", "/data2")) }
    let other =
      profile(name: "beta") + "[[profiles.mounts]]\nsource = '/a'\ntarget = '/data'\nread_only = true\n"
    #expect(throws: Never.self) { try configuration(mount(target: "/data") + other) }
  }

  @Test("an overlap is told together with what else is wrong with the mount")
  func overlapOfAnIncompleteMount() {
    let second = "[[profiles.mounts]]\ntarget = '/data/x'\n"
    #expect(
      Set(problems(mount(target: "/data") + second).map(\.field)) == [
        "mount number 2, source", "mount number 2, target", "mount number 2, read_only",
      ])
  }

  @Test("everything that is wrong with a target is told at once")
  func severalComplaints() {
    let found = problems(mount(target: "/home/alpha/repo/a,b/"))
    #expect(found.map(\.field) == Array(repeating: "mount number 1, target", count: 3))
  }

  @Test("read_only is required and a boolean")
  func readOnly() {
    let head = "[[profiles.mounts]]\nsource = '/a'\ntarget = '/b'\n"
    #expect(
      complaints(profile(head)) == ["mount number 1, read_only: is missing; set it to true or false"])
    #expect(
      complaints(profile(head + "read_only = 'true'")) == [
        "mount number 1, read_only: must be a boolean, true or false, not a string"
      ])
  }

  @Test("a key that no mount has is refused")
  func unknownKey() {
    let text = mount(target: "/data") + "readonly = true\n"
    #expect(complaints(text) == ["mount number 1: unknown key \"readonly\"; did you mean read_only?"])
  }

  @Test("a profile has at most 256 mounts")
  func limit() {
    let mounts = (0...256).map {
      "[[profiles.mounts]]\nsource = '/a'\ntarget = '/t\($0)'\nread_only = true\n"
    }
    #expect(complaints(profile(mounts.joined())) == ["mounts: has 257 elements; use at most 256"])
  }
}
