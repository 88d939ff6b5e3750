// The credentials of a profile: names that a shell takes, and names of variables that hold the values.

import Profiles
import Testing

@Suite("A credential")
struct CredentialTests {
  private func credential(_ name: String, source: String = "SOURCE") -> String {
    "[[profiles.credentials]]\nname = '\(name)'\nsource = '\(source)'\n"
  }

  @Test(
    "has the name of any variable", arguments: ["A", "_", "_a9", "PATH", "LD_PRELOAD", "agentd_x", "AGENTD"])
  func names(name: String) throws {
    #expect(
      try configuration(profile(credential(name))).profiles[0].credentials == [
        Credential(name: name, source: "SOURCE")
      ])
  }

  @Test(
    "a name that no shell takes is refused", arguments: ["", "9A", "A-B", "A B", "A=B", "Ä", "A.B", "$A"])
  func badNames(name: String) {
    #expect(problems(profile(credential(name))).map(\.field) == ["credential number 1, name"])
  }

  @Test(
    "agentd's own names are refused", arguments: ["PROFILE_NAME", "AGENTD_WORK_UNIT", "AGENTD_", "AGENTD_X"])
  func reservedNames(name: String) {
    let found = complaints(profile(credential(name)))
    #expect(found.count == 1)
    #expect(found.first?.hasPrefix("credential number 1, name: \"\(name)\" is reserved") == true)
  }

  @Test("names are unique within a profile, sources need not be")
  func unique() throws {
    #expect(
      complaints(profile(credential("A") + credential("B") + credential("A"))) == [
        "credential number 3, name: \"A\" is the name of another credential as well; use each once"
      ])
    #expect(throws: Never.self) {
      try configuration(profile(credential("A")) + profile(name: "beta") + credential("A"))
    }
  }

  @Test(
    "a source that is no variable's name is refused and not repeated",
    arguments: ["sk-secret", "$A", "A B", "a=b"])
  func badSources(source: String) {
    let found = complaints(profile(credential("A", source: source)))
    #expect(found.count == 1)
    #expect(found.first?.hasPrefix("credential number 1, source: must be the name of an environment") == true)
    #expect(found.first?.contains(source) == false)
  }

  @Test("name and source are required, and nothing else is known")
  func shape() {
    #expect(
      complaints(profile("[[profiles.credentials]]\nvalue = 'secret'\n")).map { $0.prefix(44) } == [
        "credential number 1, name: is missing; set i", "credential number 1, source: is missing; set",
        "credential number 1: unknown key \"value\"; ta",
      ])
  }

  @Test("an unset variable is no matter of the configuration")
  func unsetVariable() throws {
    #expect(throws: Never.self) { try configuration(profile(credential("A", source: "UNSET"))) }
  }

  @Test("a profile has at most 256 credentials, with names of at most 256 bytes")
  func limits() {
    let many = (0...256).map { credential("A\($0)") }.joined()
    #expect(complaints(profile(many)) == ["credentials: has 257 elements; use at most 256"])
    let long = String(repeating: "A", count: 257)
    #expect(problems(profile(credential(long))).count == 1)
    #expect(problems(profile(credential("A", source: long))).count == 1)
  }
}
