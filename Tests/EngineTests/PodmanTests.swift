// The command lines of podman, word for word.

import Engine
import Testing

@Suite("podman's command lines")
struct PodmanTests {
  private let podman = Podman()

  private func name() throws -> ContainerName {
    return try #require(
      ContainerName(daemon: "0123abcd", profile: "worker", session: "00112233445566ff"))
  }

  @Test("a launch says everything and takes nothing from the host's environment")
  func run() throws {
    let words = podman.run(
      ContainerLaunch(
        name: try name(), image: "c0ffee", conmonPidFile: "/run/s/conmon", pidFile: "/run/s/pid",
        consoleLog: "/audit/console.log", labels: [("agentd.session", "00112233445566ff")],
        mounts: [
          BindMount(source: "/run/s/envelope", target: "/agentd/envelope"),
          BindMount(source: "/m", target: "/agentd/methodology", isReadOnly: true, isRelabelled: true),
        ],
        script: "exit 0", arguments: ["agentd", "worker"]))
    #expect(
      words == [
        "run", "--detach", "--name", "agentd-0123abcd-worker-00112233445566ff", "--pull=never", "--init",
        "--user", "0:0", "--workdir", "/", "--restart=no", "--no-healthcheck", "--http-proxy=false",
        "--sdnotify=ignore", "--image-volume=ignore", "--security-opt=no-new-privileges",
        "--conmon-pidfile", "/run/s/conmon", "--pidfile", "/run/s/pid",
        "--log-driver", "k8s-file", "--log-opt", "path=/audit/console.log",
        "--label", "agentd.session=00112233445566ff",
        "--mount", "type=bind,src=/run/s/envelope,dst=/agentd/envelope",
        "--mount", "type=bind,src=/m,dst=/agentd/methodology,ro,relabel=shared",
        "--entrypoint", "/bin/sh", "c0ffee", "-c", "exit 0", "agentd", "worker",
      ])
  }

  @Test("a console path with commas and quotes is one field")
  func consolePath() throws {
    let words = podman.run(
      ContainerLaunch(
        name: try name(), image: "c0ffee", conmonPidFile: "/c", pidFile: "/p",
        consoleLog: "/a,b \"c\"/console.log", mounts: [], script: "", arguments: []))
    #expect(words.contains("\"path=/a,b \"\"c\"\"/console.log\""))
  }

  @Test(
    "a mount's path is quoted only where it must be",
    arguments: [
      ("/plain path", "type=bind,src=/plain path,dst=/x"),
      ("/a=b:c", "type=bind,src=/a=b:c,dst=/x"),
      ("/a,b:c", "type=bind,\"src=/a,b:c\",dst=/x"),
      ("/say \"hi\"", "type=bind,\"src=/say \"\"hi\"\"\",dst=/x"),
      ("/two\nlines", "type=bind,\"src=/two\nlines\",dst=/x"),
    ])
  func mount(source: String, specification: String) {
    #expect(BindMount(source: source, target: "/x").specification == specification)
  }

  @Test("several containers are removed at once")
  func remove() throws {
    #expect(
      podman.remove([try name(), try name()]) == [
        "rm", "--force", "--ignore", "--volumes", "--time", "0",
        "agentd-0123abcd-worker-00112233445566ff", "agentd-0123abcd-worker-00112233445566ff",
      ])
  }

  @Test("the questions")
  func questions() throws {
    #expect(podman.inspectImage("r") == ["image", "inspect", "--format", "{{.Id}} {{.Digest}}", "r"])
    #expect(podman.pull("r") == ["pull", "--quiet", "r"])
    #expect(
      podman.containerExit(try name()) == [
        "inspect", "--type", "container", "--format",
        "{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}} {{json .State.FinishedAt}}",
        "agentd-0123abcd-worker-00112233445566ff",
      ])
    let prefix = try #require(ContainerName.prefix(daemon: "0123abcd"))
    #expect(
      podman.list(prefix: prefix) == [
        "ps", "--all", "--no-trunc", "--format", "{{.Names}}\t{{.State}}", "--filter",
        "name=^agentd-0123abcd-",
      ])
    #expect(podman.store == ["info", "--format", "{{.Store.GraphDriverName}}\n{{.Store.GraphRoot}}"])
    #expect(podman.unshare(["chmod", "0555", "/d"]) == ["unshare", "--", "chmod", "0555", "/d"])
  }
}
