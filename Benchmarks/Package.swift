// swift-tools-version: 6.2
// The benchmarks: a package of its own, so that nobody who builds agentd builds them or what they depend on.

import PackageDescription

let settings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .treatAllWarnings(as: .error),
]

/// A room of agentd.
func room(_ name: String) -> Target.Dependency { .product(name: name, package: "agentd") }

let histogram = Target.Dependency.product(name: "Histogram", package: "hdrhistogram-swift")

func benchmark(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .executableTarget(
    name: name, dependencies: dependencies, path: "Sources/\(name)", swiftSettings: settings)
}

let package = Package(
  name: "agentd-benchmarks",
  dependencies: [
    .package(name: "agentd", path: ".."),
    .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", exact: "0.2.0"),
  ],
  targets: [
    .target(name: "BenchmarkSupport", path: "Sources/BenchmarkSupport", swiftSettings: settings),
    .target(name: "CEpoll", path: "Sources/CEpoll"),
    benchmark("CronBenchmark", ["BenchmarkSupport", room("Cron"), room("Time")]),
    benchmark(
      "SealBenchmark", ["BenchmarkSupport", room("Audit"), room("Control"), room("Time"), histogram]),
    benchmark(
      "SessionBenchmark",
      [
        "BenchmarkSupport", room("Control"), room("Engine"), room("Profiles"), room("Reactor"),
        room("Sessions"), histogram,
      ]),
    benchmark("SocketBenchmark", ["BenchmarkSupport", "CEpoll", room("Control"), histogram]),
  ]
)
