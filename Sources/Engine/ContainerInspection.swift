// A container of an earlier daemon as podman describes it: its state, its end, and which processes are its own.

/// What is needed to go on with a container, or to tell how it ended.
public struct ContainerInspection: Sendable, Equatable {
  /// Its name.
  public let name: ContainerName
  /// 64 hex digits, which the names of its cgroups and the words of its conmon hold.
  public let id: String
  /// Of its init; nil when podman knows of none.
  public let pid: Int32?
  /// Of its conmon; nil when podman knows of none.
  public let conmonPid: Int32?
  /// How it stands.
  public let exit: ContainerExit

  /// All fields.
  public init(name: ContainerName, id: String, pid: Int32?, conmonPid: Int32?, exit: ContainerExit) {
    self.name = name
    self.id = id
    self.pid = pid
    self.conmonPid = conmonPid
    self.exit = exit
  }

  /// Reads the answer to ``Podman/inspect(_:)``; what is not a line about a container of ours is left out.
  public static func parse(_ output: String) -> [ContainerInspection] {
    output.split(whereSeparator: \.isNewline).compactMap { line in
      let words = line.split(separator: " ", maxSplits: 4)
      guard words.count == 5, let name = ContainerName(words[0]), let pid = Int32(words[2]),
        let conmonPid = Int32(words[3]), let exit = ContainerExit(parsing: String(words[4]))
      else { return nil }
      return ContainerInspection(
        name: name, id: String(words[1]), pid: pid > 0 ? pid : nil,
        conmonPid: conmonPid > 0 ? conmonPid : nil, exit: exit)
    }
  }
}

extension Podman {
  /// Names in one question: far below the bound on a command line.
  static let inspectionBatch = 64

  /// Asks for ``ContainerInspection`` values, one line each.
  public func inspect(_ names: [ContainerName]) -> [String] {
    let format =
      "{{.Name}} {{.Id}} {{.State.Pid}} {{.State.ConmonPid}} "
      + "{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}} {{json .State.FinishedAt}}"
    return ["inspect", "--type", "container", "--format", format] + names.map(\.description)
  }

  /// The container that a process is starting, where the words it was started with are those of ``run(_:)``.
  public static func launchedName(by arguments: [String]) -> ContainerName? {
    guard let verb = arguments.firstIndex(of: "run"),
      let option = arguments[verb...].firstIndex(of: "--name"),
      arguments.index(after: option) < arguments.endIndex
    else { return nil }
    return ContainerName(arguments[arguments.index(after: option)])
  }
}

extension Podman {
  /// The container whose output a process writes down, where the words it was started with are those that podman gives
  /// conmon.
  public static func recordedName(by arguments: [String]) -> ContainerName? {
    guard let program = arguments.first, program == "conmon" || program.hasSuffix("/conmon"),
      let option = arguments.firstIndex(of: "-n"), arguments.index(after: option) < arguments.endIndex
    else { return nil }
    return ContainerName(arguments[arguments.index(after: option)])
  }
}

extension Containers {
  /// All containers of the daemon with this id (8 hex digits), in whatever state.
  public func inspect(daemon: String) async throws(EngineError) -> [ContainerInspection] {
    let names = try await list(daemon: daemon).map(\.name)
    var found: [ContainerInspection] = []
    for start in stride(from: 0, to: names.count, by: Podman.inspectionBatch) {
      found += try await inspect(Array(names[start...].prefix(Podman.inspectionBatch)))
    }
    return found
  }

  /// One that goes away between the list and the question makes podman fail, after it has told of the others.
  private func inspect(_ names: [ContainerName]) async throws(EngineError) -> [ContainerInspection] {
    let result = try await ask(podman.inspect(names), about: Self.everything) {
      Self.text($0.standardError).contains("no such container")
    }
    return ContainerInspection.parse(Self.text(result.standardOutput))
  }
}
