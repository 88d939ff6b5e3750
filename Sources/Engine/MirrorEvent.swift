// What sessions and operators are told of mirrors: why there is no clone, and what became of a mirror.

/// A repository could not be fetched. One clause that reads on after what was to be fetched.
public struct MirrorFailure: Error, Sendable, CustomStringConvertible {
  /// Why, in git's words where it has any; never with a token.
  public let description: String

  init(_ description: String) { self.description = description }
}

/// What an operator is told of mirrors.
public enum MirrorEvent: Sendable, Equatable {
  /// A mirror was of no use any more and was made from nothing.
  case rebuilt(profile: String, repository: String, reason: String)
  /// Mirrors that nobody had asked for were removed.
  case dropped(count: Int)
  /// A git of an earlier daemon, or what it has started, was killed: nobody waited for it any more.
  case orphanEnded(pid: Int32)
  /// What is left of mirrors, or of the gits that made them, could not be removed.
  case notRemoved(reason: String)
}
