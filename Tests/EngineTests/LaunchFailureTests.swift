// Failed launches, in the words of podman 4.3.1 with runc.

import Engine
import Testing

@Suite("failed launches")
struct LaunchFailureTests {
  @Test("a missing image, behind warnings")
  func imageMissing() {
    let stderr = """
      time="2026-11-23T04:25:14Z" level=warning msg="Error validating CNI config file"
      Error: 0123456789abcdef: image not known

      """
    #expect(LaunchFailure(exitCode: 125, stderr: stderr) == .imageMissing)
    #expect(LaunchFailure(exitCode: 1, stderr: stderr) != .imageMissing)
  }

  @Test("a name in use")
  func nameInUse() {
    let stderr = """
      Error: creating container storage: the container name "n" is already in use by 7666. You have to remove \
      that container to be able to reuse that name: that name is already in use

      """
    #expect(LaunchFailure(exitCode: 125, stderr: stderr) == .nameInUse)
  }

  @Test("no shell", arguments: [126, 127] as [Int32])
  func noShell(code: Int32) {
    let stderr = """
      Error: runc: runc create failed: exec: "/bin/sh": stat /bin/sh: no such file or directory: OCI runtime \
      attempted to invoke a command that was not found
      """
    let failure = LaunchFailure(exitCode: code, stderr: stderr)
    #expect(failure == .noShell)
    #expect(failure.description.contains("/bin/sh"))
  }

  @Test(
    "a runtime that refuses the container is not taken for a missing shell", arguments: [126, 127] as [Int32])
  func runtimeRefuses(code: Int32) {
    let stderr = "Error: crun: setrlimit `RLIMIT_NOFILE`: Operation not permitted: OCI permission denied\n"
    #expect(
      LaunchFailure(exitCode: code, stderr: stderr)
        == .other("crun: setrlimit `RLIMIT_NOFILE`: Operation not permitted: OCI permission denied"))
  }

  @Test("anything else keeps podman's last words, and a warning after them does not count")
  func other() {
    let stderr = "Error: statfs /nonexistent: no such file or directory\ntime=\"t\" level=warning msg=\"w\"\n"
    #expect(
      LaunchFailure(exitCode: 125, stderr: stderr) == .other("statfs /nonexistent: no such file or directory")
    )
    #expect(LaunchFailure(exitCode: 3, stderr: " \n") == .other("podman run ended with exit code 3"))
  }

  @Test("words are bounded, and cut between characters")
  func bounded() {
    let words = LaunchFailure.lastWords("Error: " + String(repeating: "é", count: 400))
    #expect(words == String(repeating: "é", count: 250))
  }
}
