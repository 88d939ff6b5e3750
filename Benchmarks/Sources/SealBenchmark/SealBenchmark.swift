// What sealing costs beside `chmod -R`, and what the daemon's clients notice of it. Fails above its bounds.

@preconcurrency import Glibc

@main
struct SealBenchmark {
  static func main() {
    setvbuf(stdout, nil, _IOLBF, 0)
    let words = Array(CommandLine.arguments.dropFirst())
    do {
      switch (words.first, words.count) {
      case ("fill", 3): try Tree(path: words[1]).fill(files: Int(words[2]) ?? 0)
      case ("ratio", 3): exit(try SealCost(scratch: words[1], files: Int(words[2]) ?? 0).measure() ? 0 : 1)
      case ("daemon", 6):
        let load = DaemonLoad(
          agentd: words[1], config: words[2], socket: words[3], scratch: words[4], files: Int(words[5]) ?? 0)
        exit(try load.measure() ? 0 : 1)
      default:
        fputs(
          "usage: SealBenchmark fill DIRECTORY FILES | ratio SCRATCH FILES | daemon AGENTD CONFIG SOCKET SCRATCH FILES\n",
          stderr)
        exit(2)
      }
    } catch {
      fputs("SealBenchmark: \(error)\n", stderr)
      exit(1)
    }
  }

  /// Wall and processor time of sealing, in those of chmod.
  static let ratioLimit = 1.5

  static func complain(_ sentence: String) { fputs("SealBenchmark: \(sentence)\n", stderr) }
}
