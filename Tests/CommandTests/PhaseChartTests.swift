// The bar chart of `agentd show`, drawn from metadata as records hold it.

import Audit
import Testing
import Time

@testable import agentd

@Suite("Phase chart")
struct PhaseChartTests {
  private func at(_ milliseconds: Int64) -> Timestamp {
    Timestamp(nanosecondsSinceEpoch: 1_795_406_400_000_000_000 + milliseconds * 1_000_000)
  }

  private func metadata(_ phases: [(name: String, start: Int64, end: Int64?)]) -> Metadata {
    Metadata(
      sessionID: "0123456789abcdef", profile: "site", repoURL: "https://example.org/a.git",
      startTimestamp: at(0), image: "base:1",
      phases: phases.map {
        .init(name: $0.name, startTimestamp: at($0.start), endTimestamp: $0.end.map(at))
      })
  }

  private func lines(
    _ phases: [(name: String, start: Int64, end: Int64?)], until now: Int64? = nil, width: Int = 80,
    isColoured: Bool = false
  ) -> [String] {
    PhaseChart(metadata(phases), until: now.map(at), width: width).lines(isColoured: isColoured)
  }

  @Test("each phase has its bar where it lay in time, and its time before it")
  func bars() {
    let chart = lines(
      [("image", 0, 250), ("launch", 250, 500), ("command", 500, 2000), ("seal", 2000, 2000)], width: 60)
    #expect(
      chart == [
        "image    250 ms  #####",
        "launch   250 ms       ######",
        "command  1.50 s             " + String(repeating: "#", count: 32),
        "seal       0 ms  " + String(repeating: " ", count: 42) + "#",
      ])
  }

  @Test("no line is longer than the terminal is wide, and the longest is as long", arguments: [30, 80, 211])
  func width(width: Int) {
    let chart = lines(
      [("image", 0, 1), ("command", 1, 3_600_000), ("seal", 3_600_000, 3_600_001)], width: width)
    #expect(chart.map(\.count).max() == width)
  }

  @Test("a terminal that is too narrow for any bar gets short ones", arguments: [0, 1, 20])
  func narrow(width: Int) {
    for line in lines([("command", 0, 1000)], width: width) {
      #expect(line == "command  1.00 s  ##########")
    }
  }

  @Test("entries of one name share a line: their times are summed, and the gap between them is seen")
  func entriesOfOneName() {
    let chart = lines(
      [("queued", 0, 100), ("fetch", 100, 200), ("queued", 300, 400), ("queued", 400, 500)], width: 68)
    #expect(
      chart == [
        "queued  300 ms  ##########" + String(repeating: " ", count: 21) + String(repeating: "#", count: 21),
        "fetch   100 ms            ###########",
      ])
  }

  @Test("a phase that lasts goes on until now; where nobody knows until when, it has no bar and no time")
  func lasting() {
    let phases: [(name: String, start: Int64, end: Int64?)] = [("image", 0, 500), ("command", 500, nil)]
    #expect(
      lines(phases, until: 1000, width: 37) == [
        "image    500 ms  ##########", "command  500 ms            ##########",
      ])
    #expect(lines(phases, width: 37) == ["image    500 ms  ####################", "command       ?"])
  }

  @Test("a clock that was set back makes no bar that is not there")
  func clockSetBack() {
    let chart = lines([("image", 1000, 1000), ("command", 200, 300), ("seal", 5000, 4000)], width: 40)
    #expect(chart.count == 3)
    for line in chart { #expect(line.count <= 40) }
    #expect(chart[2].hasPrefix("seal       0 ms"))
  }

  @Test("without phases there is no line; all at one moment, each is one column wide")
  func nothing() {
    #expect(lines([]) == [])
    #expect(lines([("image", 0, 0), ("seal", 0, 0)], width: 40) == ["image  0 ms  #", "seal   0 ms  #"])
  }

  @Test("with colour a bar is reverse video, and only the bars are")
  func colour() {
    #expect(
      lines([("a", 0, 500), ("b", 500, 1000)], width: 21, isColoured: true) == [
        "a  500 ms  \u{1b}[7m     \u{1b}[0m", "b  500 ms       \u{1b}[7m     \u{1b}[0m",
      ])
  }

  @Test("a name that somebody else has put into a record steers no terminal")
  func strangeName() {
    #expect(lines([("\u{1b}[2J", 0, 1)], width: 30)[0].hasPrefix("?[2J  1 ms  #"))
  }

  @Test("short times are told to the hundredth, long ones as ages")
  func spans() {
    let spans = [0, 999, 1000, 4207, 59_999, 60_000, 3_725_000].map { Terminal.span(.milliseconds($0)) }
    #expect(spans == ["0 ms", "999 ms", "1.00 s", "4.20 s", "59.99 s", "1m 00s", "1h 02m"])
  }
}
