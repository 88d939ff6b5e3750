// What the program's building blocks cost beside the least that the same work can cost: a ratio, the same on every machine.
//
// Each measurement does the work and its floor by turns and takes the least of each, so what else the machine does
// counts little. The figure is the work's time in percent of the floor's.

import Audit
import Benchmark
import Control
import Cron
@preconcurrency import Glibc
import Profiles
import Reactor
import Time

/// The figure, and the only one: times and instructions of one machine say nothing on another.
let ofFloor = BenchmarkMetric.custom(
  "percent of the floor", polarity: .prefersSmaller, useScalingFactor: false)

let benchmarks: @Sendable () -> Void = {
  Benchmark.defaultConfiguration = .init(
    metrics: [ofFloor], warmupIterations: 1, maxDuration: .seconds(10), maxIterations: 7)

  Benchmark("spawn: a child started, captured and reaped, beside posix_spawn and waitpid") { benchmark in
    let figure = await Loop.measured(100, work: Work.spawn, floor: Floor.spawn)
    benchmark.measurement(ofFloor, figure)
  }
  Benchmark("pidfd exit: a process watched to its end, beside poll on a pidfd") { benchmark in
    let figure = await Loop.measured(100, work: Work.watch, floor: Floor.poll)
    benchmark.measurement(ofFloor, figure)
  }
  Benchmark("socket: a request answered, beside the same bytes over a socket pair") { benchmark in
    // Each benchmark is a process of its own: nobody has started the loop yet.
    LoopThread.start
    let exchange = await Loop.spawn { try? await Exchange() }.value
    guard let exchange else { return benchmark.error("no server") }
    let figure = await Loop.measured(500, work: { await exchange.ask() }, floor: { exchange.echo() })
    benchmark.measurement(ofFloor, figure)
    await Loop.spawn { exchange.close() }.value
  }
  Benchmark("timer: a thousand armed and cancelled, beside sorting as many moments") { benchmark in
    let figure = await Loop.measured(50, work: Work.timers, floor: Floor.sort)
    benchmark.measurement(ofFloor, figure)
  }
  Benchmark("cron: the next occurrence of a day's schedule, beside a call of mktime") { benchmark in
    let search = Search()
    let figure = await Loop.measured(200, work: { search.next() }, floor: { search.mktime() })
    benchmark.measurement(ofFloor, figure)
  }
  Benchmark("TOML: a hundred profiles read and validated, beside copying their bytes a thousand times") {
    benchmark in
    let file = ConfigurationFile()
    let figure = await Loop.measured(5, work: { file.parse() }, floor: { file.copy() })
    benchmark.measurement(ofFloor, figure)
  }
  Benchmark("seal: a record of 500 files, beside chmod of each by its path") { benchmark in
    let trees = try Trees()
    trees.prepare(10)
    let figure = await Loop.measured(5, work: { trees.seal() }, floor: { trees.changeModes() })
    benchmark.measurement(ofFloor, figure)
    trees.remove()
  }
}
