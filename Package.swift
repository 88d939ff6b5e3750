// swift-tools-version: 6.2
// The package: one room per target, and arrows that only point down (Sources/ARCHITECTURE.md).

import PackageDescription

#if !os(Linux)
  #error("agentd runs on Linux only: it needs pidfd, signalfd, timerfd and Podman. Build it on a Linux host.")
#endif

let settings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .treatAllWarnings(as: .error),
  // Rooms call each other on every path that is taken often: what is small is put in its place across them, too.
  .unsafeFlags(["-cross-module-optimization"], .when(configuration: .release)),
]

func room(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
  .target(name: name, dependencies: dependencies, path: "Sources/\(name)", swiftSettings: settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], exclude: [String] = []) -> Target {
  .testTarget(
    name: name, dependencies: dependencies, path: "Tests/\(name)", exclude: exclude, swiftSettings: settings)
}

let system = Target.Dependency.product(name: "SystemPackage", package: "swift-system")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")

let package = Package(
  name: "agentd",
  // For Benchmarks/, which is a package of its own.
  products: ["Audit", "Control", "Cron", "Engine", "Profiles", "Reactor", "Sessions", "Time"].map {
    .library(name: $0, targets: [$0])
  },
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
    .package(url: "https://github.com/apple/swift-system", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
    .package(url: "https://github.com/LebJe/TOMLKit", from: "0.6.0"),
  ],
  targets: [
    .executableTarget(
      name: "agentd",
      dependencies: [
        "Daemon", "Control", "Engine", "Audit", "Profiles", "Cron", "Reactor", "Time", "JSON", system,
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      path: "Sources/agentd", swiftSettings: settings),
    room(
      "Daemon",
      [
        "Control", "Sessions", "Cron", "Profiles", "Audit", "Engine", "Reactor", "Time", "JSON", logging,
        system,
        .product(name: "Crypto", package: "swift-crypto"),
      ]),
    room("Control", ["Reactor", "JSON"]),
    room("Sessions", ["Engine", "Audit", "Profiles", "Reactor", "Time", "JSON", logging, system]),
    room("Audit", ["Reactor", "Time", "JSON", "CSupport", system]),
    room("Engine", ["Reactor", "Time", system, .product(name: "Crypto", package: "swift-crypto")]),
    room("Profiles", ["Cron", "Time", .product(name: "TOMLKit", package: "TOMLKit")]),
    room("Cron", ["Time"]),
    room("Reactor", ["Time", "CSupport", system]),
    room("Time"),
    room("JSON", ["Time", "CSupport"]),
    .target(
      name: "TestSupport", dependencies: ["Reactor"], path: "Tests/TestSupport", swiftSettings: settings),
    tests("ReactorTests", ["Reactor", "CSupport", "Time", "TestSupport"]),
    tests("TimeTests", ["Time"]),
    tests("JSONTests", ["JSON", "Time", "TestSupport"]),
    tests("CronTests", ["Cron", "Time", "TestSupport"], exclude: ["agreement.py"]),
    tests("ProfilesTests", ["Profiles", "Cron", "Time"]),
    tests("ControlTests", ["Control", "Reactor", "TestSupport"]),
    tests(
      "DaemonTests",
      [
        "Daemon", "Control", "Sessions", "Engine", "Audit", "Profiles", "Cron", "Reactor", "Time",
        "TestSupport", logging,
      ]),
    tests("EngineTests", ["Engine", "Reactor", "Time", "TestSupport"]),
    tests("SessionsTests", ["Sessions", "Audit", "Profiles", "Reactor", "Time", "TestSupport"]),
    .target(name: "CSupport", path: "CSupport", linkerSettings: [.linkedLibrary("uring")]),
    tests("AuditTests", ["Audit", "JSON", "CSupport", "Reactor", "Time", "TestSupport"]),
    tests("CommandTests", ["agentd", "Audit", "Time"]),
    tests("EndToEndTests", ["agentd", "CSupport", "Reactor", "TestSupport"]),
  ]
)

// Linked with libFuzzer, so for `Tests/run.sh fuzz` only. gold would take the main function of that library as well.
if Context.environment["AGENTD_FUZZ"] != nil {
  package.targets.append(
    .executableTarget(
      name: "CronFuzz", dependencies: ["Cron", "Time"], path: "Tests/Fuzz/CronFuzz",
      swiftSettings: settings, linkerSettings: [.unsafeFlags(["-use-ld=lld"])]))
}
