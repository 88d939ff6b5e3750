// The option that every verb has: which configuration.

internal import ArgumentParser
internal import Cron
internal import Glibc
internal import Profiles
internal import Reactor

struct ConfigurationOptions: ParsableArguments {
  @Option(
    name: .customLong("config"),
    help: ArgumentHelp("The configuration file.", valueName: "path"), completion: .file(extensions: ["toml"]))
  var path: String = Configuration.defaultPath

  /// Reads the configuration, or prints every problem of it and exits with 1.
  func load() throws -> Configuration {
    do {
      return try Configuration.load(path: path, host: .current())
    } catch {
      Terminal.complain("\(error)")
      throw ExitCode(1)
    }
  }
}

extension Host {
  /// This machine and this process.
  static func current() -> Host {
    let now = Loop.wallClock
    return Host(
      environment: currentEnvironment(), effectiveUserID: geteuid(), workingDirectory: currentDirectory(),
      exists: { access($0, F_OK) == 0 }, cores: Machine.cores, memory: Machine.memory, now: now,
      zone: { name throws(SystemZone.Failure) in try SystemZone(name, around: now) })
  }
}

/// This process's environment. Values that are not UTF-8 are repaired, so none of them may be handed on as a secret.
func currentEnvironment() -> [String: String] {
  var variables: [String: String] = [:]
  var next = environ
  while let entry = next.pointee {
    let words = String(cString: entry).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    if words.count == 2 { variables[String(words[0])] = String(words[1]) }
    next += 1
  }
  return variables
}

private func currentDirectory() -> String {
  guard let path = getcwd(nil, 0) else { return "/" }
  defer { free(path) }
  return String(cString: path)
}
