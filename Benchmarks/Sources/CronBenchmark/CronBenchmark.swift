// The cost of cron: expressions, and the wheel with up to 100,000 schedules. Fails when an expression is too slow.

import Cron
@preconcurrency import Glibc
import Time

@main
struct CronBenchmark {
  static func main() throws {
    // A fixed moment, so that two runs do the same.
    let start = Timestamp(secondsSinceEpoch: 1_795_406_400)
    let names = [
      "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Tokyo",
    ]
    let zones = try [Zone.utc] + names.map { try SystemZone($0, around: start).zone }
    try WheelCost(zone: zones[1], start: start).measure()
    let complaint = try ExpressionCost(zones: zones, start: start).measure()
    if let complaint {
      fflush(stdout)
      fputs("CronBenchmark: \(complaint)\n", stderr)
      exit(1)
    }
  }
}
