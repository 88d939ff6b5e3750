// Plots as SVG, readable on light and on dark pages.

import Glibc
import BenchmarkSupport

/// Lines over a common axis.
struct Plot {
  struct Series {
    var name: String
    var points: [(x: Double, y: Double)]
    /// Drawn without marks: a bound, or something to compare with.
    var isReference = false
  }

  var title: String
  var xTitle: String
  var yTitle: String
  var series: [Series]
  /// Digits behind the point of figures beside marks.
  var digits = 0
  /// Whether both axes grow by factors instead of steps.
  var isLogarithmic = false

  private static let width = 720.0
  private static let height = 400.0
  private static let left = 76.0
  private static let right = 24.0
  private static let top = 56.0
  private static let bottom = 84.0
  private static let labelHeight = 12.0

  /// The whole file.
  func svg() -> String {
    let (width, height) = (Self.width, Self.height)
    var parts = [
      """
      <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(text(width)) \(text(height))" role="img" \
      aria-label="\(escaped(title))" font-family="system-ui, sans-serif" font-size="13">
      <style>
        .ink { fill: #1f2328 } .faint { fill: #59636e } .axis { stroke: #59636e } .grid { stroke: #d1d9e0 }
        .page { fill: #ffffff }
        .s0 { stroke: #0969da } .s1 { stroke: #bc4c00 } .s2 { stroke: #8250df } .s3 { stroke: #1a7f37 }
        .f0 { fill: #0969da } .f1 { fill: #bc4c00 } .f2 { fill: #8250df } .f3 { fill: #1a7f37 }
        @media (prefers-color-scheme: dark) {
          .ink { fill: #f0f6fc } .faint { fill: #9198a1 } .axis { stroke: #9198a1 } .grid { stroke: #3d444d }
          .page { fill: #0d1117 }
          .s0 { stroke: #4493f8 } .s1 { stroke: #f0883e } .s2 { stroke: #ab7df8 } .s3 { stroke: #3fb950 }
          .f0 { fill: #4493f8 } .f1 { fill: #f0883e } .f2 { fill: #ab7df8 } .f3 { fill: #3fb950 }
        }
      </style>
      <rect class="page" width="\(text(width))" height="\(text(height))" rx="6"/>
      <text class="ink" x="\(text(Self.left))" y="26" font-size="16" font-weight="600">\(escaped(title))</text>
      <text class="faint" x="\(text((Self.left + width - Self.right) / 2))" y="\(text(height - 40))" \
      text-anchor="middle">\(escaped(xTitle))</text>
      <text class="faint" transform="translate(18 \(text((Self.top + height - Self.bottom) / 2))) rotate(-90)" \
      text-anchor="middle">\(escaped(yTitle))</text>
      """
    ]
    parts += grid()
    var labels: [(x: Double, y: Double)] = []
    for (index, line) in series.enumerated() { parts += draw(line, index, &labels) }
    parts += legend()
    return (parts + ["</svg>", ""]).joined(separator: "\n")
  }

  // MARK: Axes

  private var xs: [Double] {
    Array(Set(series.filter { !$0.isReference }.flatMap { $0.points.map(\.x) })).sorted()
  }
  private var ys: [Double] { series.flatMap { $0.points.map(\.y) }.filter { $0 > 0 } }

  private var xRange: (Double, Double) {
    let (low, high) = (xs.first ?? 1, xs.last ?? 1)
    return low < high ? (low, high) : (low / 2, high * 2)
  }

  private var yTicks: [Double] {
    let high = ys.max() ?? 1
    if isLogarithmic {
      var ticks = [power(below: ys.min() ?? 1)]
      while let last = ticks.last, last < high { ticks.append(last * 10) }
      return ticks.count > 1 ? ticks : [ticks[0], ticks[0] * 10]
    }
    let rough = high / 5
    let base = power(below: rough)
    let step = [1.0, 2, 2.5, 5, 10].map { $0 * base }.first { $0 >= rough } ?? base
    return Array(stride(from: 0, through: (high / step).rounded(.up) * step, by: step))
  }

  private func power(below value: Double) -> Double {
    var power = 1.0
    while power > value { power /= 10 }
    while power * 10 <= value { power *= 10 }
    return power
  }

  private func x(_ value: Double) -> Double {
    let (low, high) = xRange
    // Numbers of sessions grow by factors, always.
    let share = (log10(value) - log10(low)) / (log10(high) - log10(low))
    return Self.left + share * (Self.width - Self.left - Self.right)
  }

  private func y(_ value: Double) -> Double {
    let ticks = yTicks
    let (low, high) = (ticks[0], ticks[ticks.count - 1])
    let share =
      isLogarithmic
      ? (log10(max(value, low)) - log10(low)) / (log10(high) - log10(low))
      : (value - low) / (high - low)
    return Self.height - Self.bottom - share * (Self.height - Self.top - Self.bottom)
  }

  private func grid() -> [String] {
    var parts: [String] = []
    for tick in yTicks {
      let at = text(y(tick))
      let digits = tick == tick.rounded() ? 0 : tick >= 0.1 ? 1 : 3
      parts.append(
        """
        <line class="grid" x1="\(text(Self.left))" x2="\(text(Self.width - Self.right))" y1="\(at)" y2="\(at)"/>
        <text class="faint" x="\(text(Self.left - 8))" y="\(text(y(tick) + 4))" text-anchor="end">\
        \(decimal(tick, digits))</text>
        """)
    }
    for value in xs {
      let at = text(x(value))
      let foot = Self.height - Self.bottom
      parts.append(
        """
        <line class="axis" x1="\(at)" x2="\(at)" y1="\(text(foot))" y2="\(text(foot + 5))"/>
        <text class="faint" x="\(at)" y="\(text(foot + 20))" text-anchor="middle">\(decimal(value, 0))</text>
        """)
    }
    return parts
  }

  // MARK: Lines

  /// - Parameter labels: where figures stand already.
  private func draw(_ line: Series, _ index: Int, _ labels: inout [(x: Double, y: Double)]) -> [String] {
    let color = index % 4
    let points = line.points.map { "\(text(x($0.x))),\(text(y($0.y)))" }.joined(separator: " ")
    let dashes = line.isReference ? " stroke-dasharray=\"6 4\"" : ""
    var parts = [
      "<polyline class=\"s\(color)\" fill=\"none\" stroke-width=\"2\"\(dashes) points=\"\(points)\"/>"
    ]
    guard !line.isReference else { return parts }
    for point in line.points {
      // Above its mark, or below it where another figure is in the way.
      let above = (x: x(point.x), y: y(point.y) - 9)
      let isTaken = labels.contains { $0.x == above.x && abs($0.y - above.y) < Self.labelHeight }
      let label = isTaken ? (x: above.x, y: y(point.y) + 17) : above
      labels.append(label)
      parts.append(
        """
        <circle class="f\(color)" cx="\(text(x(point.x)))" cy="\(text(y(point.y)))" r="3.5"/>
        <text class="ink" x="\(text(label.x))" y="\(text(label.y))" text-anchor="\(anchor(point.x))" \
        font-size="11">\(decimal(point.y, digits))</text>
        """)
    }
    return parts
  }

  /// Figures at the edges stay inside.
  private func anchor(_ value: Double) -> String {
    value == xs.last && xs.count > 1 ? "end" : value == xs.first && xs.count > 1 ? "start" : "middle"
  }

  private func legend() -> [String] {
    var at = Self.left
    return series.enumerated().map { index, line in
      let dashes = line.isReference ? " stroke-dasharray=\"6 4\"" : ""
      let height = Self.height - 16
      defer { at += 44 + 7.2 * Double(line.name.count) }
      return """
        <line class="s\(index % 4)" stroke-width="2"\(dashes) x1="\(text(at))" x2="\(text(at + 24))" \
        y1="\(text(height - 4))" y2="\(text(height - 4))"/>
        <text class="ink" x="\(text(at + 30))" y="\(text(height))">\(escaped(line.name))</text>
        """
    }
  }

  private func text(_ value: Double) -> String { decimal(value, 1) }

  private func escaped(_ text: String) -> String {
    text.map { ["&": "&amp;", "<": "&lt;", ">": "&gt;", "\"": "&quot;"][$0] ?? String($0) }.joined()
  }
}
