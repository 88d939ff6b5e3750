// swift-tools-version: 6.2
// The micro-benchmarks: apart from the other benchmarks, because what they depend on wants the newest toolchain.

import PackageDescription

/// A room of agentd.
func room(_ name: String) -> Target.Dependency { .product(name: name, package: "agentd") }

let package = Package(
  name: "agentd-micro-benchmarks",
  dependencies: [
    .package(name: "agentd", path: "../.."),
    // No trait: what counts allocations is not needed, and is a package more.
    .package(url: "https://github.com/ordo-one/benchmark", from: "1.38.1", traits: []),
  ],
  targets: [
    .executableTarget(
      name: "Micro",
      dependencies: [
        room("Audit"), room("Control"), room("Cron"), room("Profiles"), room("Reactor"), room("Time"),
        .product(name: "Benchmark", package: "benchmark"),
      ],
      path: "Benchmarks/Micro",
      swiftSettings: [
        .swiftLanguageMode(.v6),
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("InternalImportsByDefault"),
      ],
      plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")])
  ]
)
