// Images: asked of podman once, remembered while its store is the same, pulled once for all who wait.

import Glibc
import Reactor
import TestSupport
import Testing

@testable import Engine

@Suite("Images")
struct ImagesTests {
  init() { LoopThread.start() }

  /// A store that knows the image once it has been pulled, or `present` was made.
  private let store = """
    mkdir -p "$here/store/overlay-images"
    case $verb in
    info) printf 'overlay\\n%s\\n' "$here/store" ;;
    image)
      [ -e "$here/present" ] || fail 125 'base:1: image not known'
      echo "$digits sha256:$digits" ;;
    pull)
      [ -e "$here/pullable" ] || fail 125 'initializing source: connection refused'
      : >"$here/present"
      echo again >>"$here/store/overlay-images/images.json" ;;
    esac
    """

  private let digits = String(repeating: "0123456789abcdef", count: 4)

  @Loop private func make(_ files: String...) async throws -> Fixture {
    let fixture = try Fixture(store)
    try await fixture.containers.probe()
    try write("first\n", to: "\(fixture.scratch.path)/store/overlay-images/images.json")
    for file in files { try write("", to: "\(fixture.scratch.path)/\(file)") }
    return fixture
  }

  @Test("an image that is there is asked for once, until the store changes") @Loop
  func remembered() async throws {
    let fixture = try await make("present")
    defer { fixture.scratch.remove() }
    for _ in 0..<3 {
      let image = try await fixture.containers.image("base:1")
      #expect(image.id == digits)
      #expect(image.digest == "sha256:\(digits)")
    }
    #expect(try fixture.podman.calls(of: "image").count == 1)
    // podman replaces the file with every change.
    let index = "\(fixture.scratch.path)/store/overlay-images/images.json"
    try write("second\n", to: index + ".new")
    #expect(rename(index + ".new", index) == 0)
    _ = try await fixture.containers.image("base:1")
    #expect(try fixture.podman.calls(of: "image").count == 2)
    fixture.containers.forgetImage("base:1")
    _ = try await fixture.containers.image("base:1")
    #expect(try fixture.podman.calls(of: "image").count == 3)
    #expect(try fixture.podman.calls(of: "pull") == [])
  }

  @Test("without a store to look at, nothing is remembered") @Loop
  func unknownStore() async throws {
    let fixture = try await make("present")
    defer { fixture.scratch.remove() }
    #expect(unlink("\(fixture.scratch.path)/store/overlay-images/images.json") == 0)
    for _ in 0..<3 { _ = try await fixture.containers.image("base:1") }
    #expect(try fixture.podman.calls(of: "image").count == 3)
  }

  @Test("a missing image is pulled once for the three who wait for it") @Loop
  func pulledOnce() async throws {
    let fixture = try await make("pullable")
    defer { fixture.scratch.remove() }
    let waiting = (0..<3).map { _ in Task { @Loop in try await fixture.containers.image("base:1") } }
    for waiter in waiting { #expect(try await waiter.value.id == digits) }
    #expect(try fixture.podman.calls(of: "pull") == ["pull --quiet base:1"])
    // Before the pull and after it.
    #expect(try fixture.podman.calls(of: "image").count == 2)
  }

  @Test("a pull that fails is told to all who wait, and tried anew by who comes later") @Loop
  func pullFails() async throws {
    let fixture = try await make()
    defer { fixture.scratch.remove() }
    let waiting = (0..<3).map { _ in Task { @Loop in try await fixture.containers.image("base:1") } }
    for waiter in waiting {
      #expect(
        await Fixture.failure { _ = try await waiter.value }
          == "the image base:1 is not in podman's store and podman pull: initializing source: connection refused"
      )
    }
    #expect(try fixture.podman.calls(of: "pull").count == 1)
    try write("", to: "\(fixture.scratch.path)/pullable")
    #expect(try await fixture.containers.image("base:1").id == digits)
  }

  @Test("a pull does not wait for the gate, and nobody waits for the pull but who needs it") @Loop
  func pullOutsideGate() async throws {
    let fixture = try Fixture(
      """
      case $verb in
      image) [ -e "$here/present" ] || fail 125 'image not known'; echo $digits ;;
      pull) read -r line <"$here/go"; : >"$here/present" ;;
      esac
      """)
    defer { fixture.scratch.remove() }
    let go = try makeFIFO("\(fixture.scratch.path)/go")
    let pulls = (0..<6).map { number in
      Task { @Loop in try await fixture.containers.image("base:\(number)") }
    }
    // Each has been asked for and is being pulled, all six at once: more than the gate lets in.
    try await fixture.podman.wait(for: 12)
    try await fixture.containers.remove(Fixture.name(1))
    #expect(write(go.raw, "\n\n\n\n\n\n", 6) == 6)
    for pull in pulls { #expect(try await pull.value.id == digits) }
  }

  @Test(
    "a question that fails for another reason than a missing image pulls nothing",
    arguments: [
      ("fail 125 'database is locked'", "podman image inspect: database is locked"),
      ("echo surprise", "podman image inspect printed something that is not understood"),
    ])
  @Loop func inspectFails(_ body: String, _ sentence: String) async throws {
    let fixture = try Fixture(body)
    defer { fixture.scratch.remove() }
    #expect(await Fixture.failure { _ = try await fixture.containers.image("base:1") } == sentence)
    #expect(try fixture.podman.calls(of: "pull") == [])
  }

  @Test("an image that is not there after its pull is an error") @Loop
  func pulledAndGone() async throws {
    let fixture = try Fixture("[ $verb = pull ] || fail 125 'image not known'")
    defer { fixture.scratch.remove() }
    #expect(
      await Fixture.failure { _ = try await fixture.containers.image("base:1") }
        == "the image base:1 was pulled and is not there: correct base_image")
  }
}
