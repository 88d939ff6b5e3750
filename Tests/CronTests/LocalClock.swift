// The oracle: what a clock on the wall shows, instant by instant, and when a job is then to run. It knows no segments.

import Glibc

@testable import Cron

/// A stretch of time, and what the clock shows at each tick of it.
struct LocalClock {
  /// Local date and weekday of one day.
  struct Day {
    let number: Int64
    let month, day, weekday: Int

    /// - Parameter number: counted from 1970-01-01.
    init(number: Int64) {
      var second = time_t(number * 86_400)
      var date = tm()
      gmtime_r(&second, &date)
      self.number = number
      (month, day, weekday) = (Int(date.tm_mon) + 1, Int(date.tm_mday), Int(date.tm_wday))
    }
  }

  /// The first tick, in seconds from the epoch.
  let start: Int64
  /// From tick to tick: a minute where all that happens happens on whole minutes.
  let tick: Int64
  /// What the clock shows at each tick, in seconds from 1970-01-01T00:00:00 of the clock.
  let local: [Int64]
  /// The highest that it has shown so far, tick by tick.
  private let highest: [Int64]
  /// The days that it shows, but for the first and the last, which may have begun earlier or end later.
  let days: [Day]

  init(start: Int64, tick: Int64, local: [Int64]) {
    (self.start, self.tick, self.local) = (start, tick, local)
    var top = Int64.min
    highest = local.map { shown in
      top = max(top, shown)
      return top
    }
    var numbers: Set<Int64> = []
    var previous = Int64.min
    for shown in local {
      let number = shown.dividedDown(by: 86_400)
      if number != previous { numbers.insert(number) }
      previous = number
    }
    days = numbers.sorted().dropFirst().dropLast().map(Day.init)
  }

  /// What glibc's clock shows in a zone from whole hour to whole hour, minute by minute.
  ///
  /// An hour at whose ends the clock is as far from UTC is taken as it is; within all others every minute is asked for.
  init(zone: String, from start: Int64, hours: Int64) {
    let local = SystemZone.asking(zone) {
      var local: [Int64] = []
      local.reserveCapacity(Int(hours) * 60)
      var ahead = Self.shown(at: start) - start
      for hour in 0..<hours {
        let first = start + hour * 3600
        let later = Self.shown(at: first + 3600) - first - 3600
        for minute in Int64(0)..<60 {
          let second = first + minute * 60
          local.append(later == ahead ? second + ahead : Self.shown(at: second))
        }
        ahead = later
      }
      return local
    }
    self.init(start: start, tick: 60, local: local)
  }

  /// What the clock of this process shows. It is read from the fields, not from the offset beside them.
  static func shown(at second: Int64) -> Int64 {
    var second = time_t(second)
    var fields = tm()
    localtime_r(&second, &fields)
    return Int64(timegm(&fields))
  }

  /// The ticks, in seconds from the epoch, at which `probe` is to run in a range.
  func runs(of probe: Probe, in range: ClosedRange<Int64>) -> [Int64] {
    let times = probe.hours.flatMap { hour in probe.minutes.map { Int64(hour * 3600 + $0 * 60) } }
    let matching = days.filter(probe.matches)
    var instants: Set<Int64> = []
    if probe.goesByTheClock {
      // Every instant whose local time matches.
      let numbers = Set(matching.map(\.number))
      var isTime = [Bool](repeating: false, count: 86_400)
      for time in times { isTime[Int(time)] = true }
      let first = Int((range.lowerBound - start + tick - 1) / tick)
      for index in first...Int((range.upperBound - start) / tick) {
        let day = local[index].dividedDown(by: 86_400)
        if isTime[Int(local[index] - day * 86_400)], numbers.contains(day) {
          instants.insert(start + Int64(index) * tick)
        }
      }
    } else {
      // Once for each day that the clock shows: when it first shows the time, or else when it has first gone past it.
      for day in matching {
        for time in times {
          instants.insert(firstInstant(atOrPast: day.number * 86_400 + time))
        }
      }
    }
    return instants.filter(range.contains).sorted()
  }

  /// The instant at which the clock first shows a local time or, where it leaves that out, has first gone past it.
  func firstInstant(atOrPast shown: Int64) -> Int64 {
    var (low, high) = (0, highest.count)
    while low < high {
      let middle = (low + high) / 2
      if highest[middle] < shown { low = middle + 1 } else { high = middle }
    }
    return start + Int64(low) * tick
  }
}

extension Int64 {
  func dividedDown(by divisor: Int64) -> Int64 {
    let quotient = self / divisor
    return self % divisor < 0 ? quotient - 1 : quotient
  }
}
