// The command lines of podman that agentd uses; what podman answers is read by the types of Answers.swift.

/// Builds the words after `podman`. Pure: running them is the reactor's business.
public struct Podman: Sendable, Equatable {
  /// The program to run: a path, or a name to look for on PATH.
  public let executable: String

  /// Names the program.
  public init(executable: String = "podman") {
    self.executable = executable
  }

  /// Starts a container in the background and prints its ID.
  ///
  /// Nothing of the host's environment goes in (no proxy variables, no NOTIFY_SOCKET). Volumes that the image
  /// declares are ignored: an anonymous volume would be owned by root in the user's home, and would outlive a
  /// daemon that dies before it can remove it.
  public func run(_ launch: ContainerLaunch) -> [String] {
    var logOption = ""
    appendField("path=", launch.consoleLog, to: &logOption)
    var words = [
      "run", "--detach", "--name", launch.name.description, "--pull=never", "--init", "--user", "0:0",
      "--workdir", "/", "--restart=no", "--no-healthcheck", "--http-proxy=false", "--sdnotify=ignore",
      "--image-volume=ignore", "--security-opt=no-new-privileges",
      "--conmon-pidfile", launch.conmonPidFile, "--pidfile", launch.pidFile,
      "--log-driver", "k8s-file", "--log-opt", logOption,
    ]
    words.reserveCapacity(
      words.count + 2 * (launch.labels.count + launch.mounts.count) + 5 + launch.arguments.count)
    for label in launch.labels {
      words.append("--label")
      words.append(label.name + "=" + label.value)
    }
    for mount in launch.mounts {
      words.append("--mount")
      words.append(mount.specification)
    }
    words += ["--entrypoint", "/bin/sh", launch.image, "-c", launch.script]
    words += launch.arguments
    return words
  }

  /// Kills and removes containers with their anonymous volumes; one that does not exist is no error.
  public func remove(_ names: [ContainerName]) -> [String] {
    return ["rm", "--force", "--ignore", "--volumes", "--time", "0"] + names.map(\.description)
  }

  /// Asks for an ``ImageIdentity``.
  public func inspectImage(_ reference: String) -> [String] {
    return ["image", "inspect", "--format", "{{.Id}} {{.Digest}}", reference]
  }

  /// Fetches an image and prints its ID.
  public func pull(_ reference: String) -> [String] {
    return ["pull", "--quiet", reference]
  }

  /// Asks for a ``ContainerExit``.
  public func containerExit(_ name: ContainerName) -> [String] {
    let format = "{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}} {{json .State.FinishedAt}}"
    return ["inspect", "--type", "container", "--format", format, name.description]
  }

  /// Asks for the ``ListedContainer`` values of one daemon instance; `prefix` is ``ContainerName/prefix(daemon:)``.
  ///
  /// podman takes the filter as a regular expression; nothing in the prefix means anything else in one.
  public func list(prefix: String) -> [String] {
    return ["ps", "--all", "--no-trunc", "--format", "{{.Names}}\t{{.State}}", "--filter", "name=^\(prefix)"]
  }

  /// Asks for a ``Store``.
  public var store: [String] {
    return ["info", "--format", "{{.Store.GraphDriverName}}\n{{.Store.GraphRoot}}"]
  }

  /// Runs a program in the user namespace of rootless podman, where sub-uids can be chmodded and removed.
  public func unshare(_ words: [String]) -> [String] {
    return ["unshare", "--"] + words
  }
}
