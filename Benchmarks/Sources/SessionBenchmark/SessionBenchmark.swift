// Many sessions at once: what they cost on the stub engine and on the real podman. Fails when a claim does not hold.

@preconcurrency import Glibc
import Reactor

@main
struct SessionBenchmark {
  private static let podmanRounds = 3
  private static let liveSessions = 40

  static func main() {
    do {
      DescriptorLimit.raise()
      let options = try Options(CommandLine.arguments.dropFirst())
      let outcome: Result<Results, any Error> = try Loop.run(forcedBackend: nil) { _ in
        do {
          return .success(try await measure(options))
        } catch {
          return .failure(error)
        }
      }
      let results = try outcome.get()
      results.printTables()
      try results.save(in: options.out)
      print("JSON and plots: \(options.out)")
      fflush(stdout)
      guard results.claims.allSatisfy(\.holds) else {
        throw Complaint("a claim does not hold, as said above")
      }
    } catch {
      fflush(stdout)
      fputs("SessionBenchmark: \(error)\n", stderr)
      exit(1)
    }
  }

  @Loop
  private static func measure(_ options: Options) async throws -> Results {
    var results = Results(machine: options.machine, engine: options.engine.rawValue)
    for count in options.sessions {
      switch options.engine {
      case .stub:
        results.stub.append(try await StubCrowds(options: options).measure(count, rounds: options.rounds))
      case .podman:
        results.podman.append(
          try await PodmanCrowds(options: options).measure(count, rounds: podmanRounds))
      }
      print("\(count) sessions: measured")
      fflush(stdout)
    }
    if options.engine == .podman {
      results.liveMemory = try await PodmanCrowds(options: options).liveMemory(liveSessions)
    }
    results.judge()
    return results
  }
}
