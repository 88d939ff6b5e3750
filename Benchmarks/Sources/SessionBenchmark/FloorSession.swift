// A session for the floor: the words that the daemon would start podman with, and what its container waits for.

import Engine
import Glibc
import Profiles
import Sessions

/// One folder that floor.sh takes a session from.
struct FloorSession {
  /// An id of eight zeros: no daemon's.
  private static let daemon = "00000000"

  let directory: String
  let launch: ContainerLaunch
  private let options: Options

  init(in directory: String, number: Int, _ options: Options) {
    self.directory = directory
    self.options = options
    let digits = String(number, radix: 16)
    let session = String(repeating: "0", count: 16 - digits.count) + digits
    guard let name = ContainerName(daemon: Self.daemon, profile: "bench", session: session) else {
      preconditionFailure("a name of ours")
    }
    launch = ContainerLaunch(
      name: name, image: options.image, conmonPidFile: "\(directory)/conmon.pid",
      pidFile: "\(directory)/container.pid", consoleLog: "\(directory)/console.log",
      labels: [("agentd.daemon", Self.daemon), ("agentd.session", session), ("agentd.profile", "bench")],
      mounts: [
        BindMount(source: "\(directory)/envelope", target: SetupScript.envelopePath, isRelabelled: true),
        BindMount(source: "\(directory)/report", target: SetupScript.reportPath, isRelabelled: true),
        BindMount(
          source: "\(directory)/methodology", target: SetupScript.methodologyPath, isReadOnly: true,
          isRelabelled: true),
        BindMount(
          source: "\(directory)/runa", target: SetupScript.runaPath(profile: "bench"), isRelabelled: true),
      ],
      script: SetupScript.text,
      arguments: SetupScript.arguments(
        profile: "bench", pruned: [], command: options.engine == .stub ? ["stub", "exit=0"] : ["/bin/true"]))
  }

  /// Puts all of it where floor.sh finds it.
  func prepare() throws {
    for folder in [directory, "\(directory)/methodology", "\(directory)/runa"] { mkdir(folder, 0o700) }
    chmod("\(directory)/runa", 0o777)
    mkfifo("\(directory)/envelope", 0o600)
    try write("", to: "\(directory)/report")
    try write(Podman().run(launch).map { $0 + "\0" }, to: "\(directory)/words")
    try write("\(launch.name)", to: "\(directory)/name")
    let envelope = try Envelope(
      repository: options.repository, workUnit: nil, cloneToken: nil,
      credentials: [(BenchDaemon.credential, Array("not-a-secret".utf8))])
    try write(String(decoding: envelope.bytes, as: UTF8.self), to: "\(directory)/released")
  }
}
