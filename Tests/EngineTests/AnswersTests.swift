// What podman prints, as podman 4.3.1 printed it, and what must not be taken for an answer.

import Engine
import Testing

@Suite("podman's answers")
struct AnswersTests {
  private let id = String(repeating: "42cb377c", count: 8)

  @Test("an image is its ID and its digest")
  func image() {
    let digest = "sha256:1ee595859acbb40615abc3fb81115e5b70e92832a54ebf070a383d8ed6fc225c"
    #expect(ImageIdentity(parsing: "\(id) \(digest)\n")?.id == id)
    #expect(ImageIdentity(parsing: "\(id) \(digest)\n")?.digest == digest)
    #expect(ImageIdentity(parsing: "sha256:\(id) \(digest)\n")?.id == id)
    #expect(ImageIdentity(parsing: "\(id) \n")?.digest == nil)
    #expect(ImageIdentity(parsing: "\(id) <none>\n")?.digest == nil)
  }

  @Test("what is not an image's identity is none", arguments: ["", "\n", "42cb377c sha256:x", "a b c"])
  func noImage(output: String) {
    #expect(ImageIdentity(parsing: output) == nil)
  }

  @Test("a container's end has a code and a time")
  func ended() {
    let end = ContainerExit(parsing: "exited 137 true \"2026-11-23T04:42:04.549993608Z\"\n")
    #expect(end?.state == .dead)
    #expect(end?.code == 137)
    #expect(end?.ranOutOfMemory == true)
    #expect(end?.finished == "2026-11-23T04:42:04.549993608Z")
  }

  @Test("a running container has not finished")
  func running() {
    let end = ContainerExit(parsing: "running 0 false \"0001-01-01T00:00:00Z\"\n")
    #expect(end?.state == .live)
    #expect(end?.finished == nil)
  }

  @Test(
    "half an answer is none",
    arguments: ["", "exited 0 false", "exited x false \"t\"", "exited 0 maybe \"t\"", "exited 0 false t"])
  func noExit(output: String) {
    #expect(ContainerExit(parsing: output) == nil)
  }

  @Test(
    "every state of podman's is dead or live",
    arguments: [
      ("configured", ContainerState.dead), ("created", .dead), ("initialized", .dead), ("exited", .dead),
      ("stopped", .dead), ("removing", .dead), ("dead", .dead), ("running", .live), ("paused", .live),
      ("stopping", .live), ("restarting", .live), ("Up 2 seconds", .live), ("Paused", .live),
      ("Exited (5) 2 seconds ago", .dead), ("Created", .dead), ("Initialized", .dead), ("Removing", .dead),
      ("unknown", .unknown("unknown")), ("Levitating", .unknown("levitating")), ("", .unknown("")),
    ])
  func state(phrase: String, state: ContainerState) {
    #expect(ContainerState(phrase) == state)
  }

  @Test("only what is named exactly like ours is listed")
  func list() throws {
    let ours = "agentd-0123abcd-a-b-00112233445566ff"
    let output = """
      \(ours)\tExited (0) 2 days ago
      agentd-0123abcd-a-b-00112233445566f\tCreated
      agentd-0123abcd-a-b-00112233445566ff,alias\tCreated
      agentd-99999999-a-00112233445566ff\tCreated
      agentd-0123abcd-web\tUp 3 hours
      \(ours)

      """
    let listed = ListedContainer.parse(output, daemon: "0123abcd")
    #expect(listed.map(\.name.description) == [ours])
    #expect(listed.first?.state == .dead)
  }

  @Test("the store's root may hold spaces")
  func store() {
    #expect(Store(parsing: "overlay\n/srv/my images\n")?.root == "/srv/my images")
    #expect(Store(parsing: "overlay\n/var/lib/containers/storage")?.driver == "overlay")
    #expect(Store(parsing: "overlay") == nil)
    #expect(Store(parsing: "overlay\nrelative") == nil)
  }
}

@Suite("container names")
struct ContainerNameTests {
  @Test(
    "what is built is read back", arguments: ["a", "worker", "a-b_c-9", String(repeating: "z", count: 32)])
  func roundTrip(profile: String) throws {
    let name = try #require(ContainerName(daemon: "0123abcd", profile: profile, session: "00112233445566ff"))
    #expect(ContainerName(name.description) == name)
  }

  @Test(
    "nothing else is a name of ours",
    arguments: [
      "", "agentd-", "agentd-0123abcd-00112233445566ff", "agentd-0123ABCD-a-00112233445566ff",
      "agentd-0123abcd--00112233445566ff", "agentd-0123abcd-A-00112233445566ff",
      "agentd-0123abcd-a-00112233445566fg", "agentd-0123abcde-a-00112233445566ff",
      "xagentd-0123abcd-a-00112233445566ff", "agentd-0123abcd-a-00112233445566ff\n",
      "agentd-0123abcd-\(String(repeating: "z", count: 33))-00112233445566ff",
      "agentd-0123abcd-\u{e9}-00112233445566ff",
    ])
  func foreign(name: String) {
    #expect(ContainerName(name) == nil)
  }

  @Test("a prefix is made of a daemon's eight digits only")
  func prefix() {
    #expect(ContainerName.prefix(daemon: "0123abcd") == "agentd-0123abcd-")
    #expect(ContainerName.prefix(daemon: ".*") == nil)
  }
}
