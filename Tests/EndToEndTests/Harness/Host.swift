// What the machine provides: the binary under test, podman, the base image and the environment.

import Glibc

/// Why a test cannot go on, in one sentence or with what was seen.
struct Failure: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}

enum Host {
  /// The environment that every program is started with, unless a test adds to it.
  static let environment: [String: String] = {
    var variables: [String: String] = [:]
    var next = environ
    while let pointer = next.pointee {
      let variable = String(cString: pointer)
      if let equals = variable.firstIndex(of: "=") {
        variables[String(variable[..<equals])] = String(variable[variable.index(after: equals)...])
      }
      next += 1
    }
    // The tests read the log as it is by default.
    for name in ["AGENTD_LOG", "AGENTD_LOG_FORMAT"] { variables[name] = nil }
    return variables
  }()

  /// The built executable, beside the test bundle.
  static let agentd: String = {
    guard let bundle = linkTarget("/proc/self/exe"), let slash = bundle.lastIndex(of: "/") else {
      fatalError("/proc is not mounted")
    }
    return "\(bundle[..<slash])/agentd"
  }()

  /// The base image, which Tests/run.sh makes.
  static func image() throws -> String {
    guard let image = environment["AGENTD_TEST_IMAGE"], !image.isEmpty else {
      throw Failure("AGENTD_TEST_IMAGE names no image: run these tests by Tests/run.sh, which makes one")
    }
    return image
  }

  /// The path of a program on PATH.
  static func find(_ name: String) throws -> String {
    for directory in (environment["PATH"] ?? "/usr/bin:/bin").split(separator: ":") {
      let path = "\(directory)/\(name)"
      if access(path, X_OK) == 0 { return path }
    }
    throw Failure("\(name) is not on PATH: these tests need it")
  }

  /// Runs a program to its end and returns what it printed; anything but exit code 0 is an error.
  @discardableResult
  static func run(
    _ name: String, _ arguments: [String], environment added: [String: String] = [:]
  ) throws -> String {
    let program = try Program(
      try find(name), arguments, environment: environment.merging(added) { $1 }, directory: Ground.tools,
      name: name)
    defer { program.discardOutput() }
    let status = try program.wait()
    guard status == .exited(0) else {
      throw Failure("\(name) \(arguments.joined(separator: " ")): \(status): \(program.errors.text)")
    }
    return program.output.text
  }

  @discardableResult
  static func podman(_ arguments: String...) throws -> String { try run("podman", arguments) }

  /// Removes a tree: rootless podman's user namespace owns some of it.
  static func removeTree(_ path: String) throws {
    if geteuid() == 0 {
      try run("rm", ["-rf", "--", path])
    } else {
      try run("podman", ["unshare", "rm", "-rf", "--", path])
    }
  }
}
