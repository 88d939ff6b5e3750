// Everything `podman run` must know about a session's container. Nothing in it is secret.

/// A container that is to be started; ``Podman/run(_:)`` turns it into words.
public struct ContainerLaunch: Sendable {
  /// The container's name.
  public var name: ContainerName
  /// The ID of the image, so that what runs is what was inspected.
  public var image: String
  /// Where conmon's process id goes.
  public var conmonPidFile: String
  /// Where the process id of the container's init goes.
  public var pidFile: String
  /// The file that conmon writes the container's output to.
  public var consoleLog: String
  /// Labels, in order.
  public var labels: [(name: String, value: String)]
  /// Bind mounts, in order.
  public var mounts: [BindMount]
  /// The script for the image's /bin/sh.
  public var script: String
  /// `$0` and then the words of the script.
  public var arguments: [String]

  /// Describes a container.
  public init(
    name: ContainerName, image: String, conmonPidFile: String, pidFile: String, consoleLog: String,
    labels: [(name: String, value: String)] = [], mounts: [BindMount], script: String, arguments: [String]
  ) {
    self.name = name
    self.image = image
    self.conmonPidFile = conmonPidFile
    self.pidFile = pidFile
    self.consoleLog = consoleLog
    self.labels = labels
    self.mounts = mounts
    self.script = script
    self.arguments = arguments
  }
}
