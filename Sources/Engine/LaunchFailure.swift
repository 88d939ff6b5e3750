// Why `podman run` did not start a container, from its exit code and what it said.

/// The reason of a failed launch.
public enum LaunchFailure: Error, Sendable, Equatable, CustomStringConvertible {
  /// The image is not in the store: it can be pulled, and the launch tried again.
  case imageMissing
  /// The image has no /bin/sh that can be executed.
  ///
  /// With `--init` podman starts its init instead, and this is not met: the container then ends by itself with
  /// code 1 and an empty report. See `SetupReport`.
  case noShell
  /// A container of this name exists.
  case nameInUse
  /// It was taken back before its turn had come: podman was never asked.
  case withdrawn
  /// It was taken back when podman had begun and did not come to an end, so podman was killed.
  case killed
  /// podman could not be started, so there is nothing of it.
  case notStarted(String)
  /// Anything else, in podman's own last words.
  case other(String)

  /// The most bytes of podman's words that are kept.
  public static let sentenceLimit = 500

  /// Classifies what `podman run` ended with.
  ///
  /// - Parameters:
  ///   - exitCode: podman's exit code, not 0: 125 for itself, 126 and 127 for what it was to execute.
  ///   - stderr: what it wrote to stderr.
  public init(exitCode: Int32, stderr: String) {
    let sentence = Self.lastWords(stderr)
    switch exitCode {
    // podman also ends with these when its runtime refuses or is missing: only its words tell the two apart.
    case 126 where stderr.contains("/bin/sh"), 127 where stderr.contains("/bin/sh"): self = .noShell
    case 125 where sentence.hasSuffix("image not known"): self = .imageMissing
    case 125 where sentence.hasSuffix("that name is already in use"): self = .nameInUse
    default: self = .other(sentence.isEmpty ? "podman run ended with exit code \(exitCode)" : sentence)
    }
  }

  /// The last line with words in it, without "Error: ", at most ``sentenceLimit`` bytes of it.
  ///
  /// Warnings are passed over (they precede the error, and may outnumber it) unless there is nothing else.
  public static func lastWords(_ stderr: String) -> String {
    let lines = stderr.split(whereSeparator: \.isNewline)
      .map { Substring($0.drop(while: \.isWhitespace)) }
      .filter { !$0.isEmpty }
    let last = lines.last { !($0.hasPrefix("time=\"") && $0.contains("level=warning")) } ?? lines.last ?? ""
    var line = last.hasPrefix("Error: ") ? last.dropFirst("Error: ".count) : last
    while let end = line.last, end.isWhitespace { line.removeLast() }
    while line.utf8.count > sentenceLimit { line.removeLast() }
    return String(line)
  }

  /// One sentence for the operator.
  public var description: String {
    switch self {
    case .imageMissing: "the image is not in podman's store: pull it or correct base_image"
    case .noShell: "the image has no usable /bin/sh: add one to the profile's base_image"
    case .nameInUse: "a container of this session's name exists already"
    case .withdrawn: "it was taken back before its turn had come"
    case .killed: "it was taken back, and podman, which hung, was killed"
    case .notStarted(let sentence): sentence
    case .other(let sentence): "podman could not start the container: \(sentence)"
    }
  }
}
