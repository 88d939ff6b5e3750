// Why a daemon did not start.

/// One sentence that tells the operator what is wrong and what to do.
public struct StartFailure: Error, Sendable, CustomStringConvertible {
  /// The sentence.
  public let description: String
  /// - Parameter sentence: what is wrong and what to do.
  public init(_ sentence: String) { description = sentence }
}
