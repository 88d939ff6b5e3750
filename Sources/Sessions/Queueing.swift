// A session that waits for its turn: what it is run with, once that has come.

internal import Logging
public import Profiles
internal import Reactor

extension Session {
  /// What a session was asked for, less its secrets.
  public struct Order: Sendable {
    /// The profile as it was when the session was accepted.
    public let profile: Profile
    /// What is cloned.
    public let repository: RepositoryURL
    /// What it is to work on, if that was said.
    public let workUnit: WorkUnit?
  }

  /// What it was asked for, by its facts.
  ///
  /// - Throws: `SessionRefusal` when this build cannot run what an earlier one has accepted.
  public func order() throws(SessionRefusal) -> Order {
    guard let profile = facts.profile?.profile else {
      throw SessionRefusal("The session's profile is not known any more: run it again.")
    }
    do throws(InvalidValue) {
      return Order(
        profile: profile, repository: try RepositoryURL(metadata.repoURL),
        workUnit: try metadata.workUnit.map { (text) throws(InvalidValue) in try WorkUnit(text) })
    } catch {
      throw SessionRefusal("The session cannot be run by this build of agentd: it \(error.message).")
    }
  }

  /// Logs that it waits.
  ///
  /// - Parameter count: how many before it.
  public func tellQueued(behind count: Int) {
    tell(.info, "runner.session_queued") {
      $0["repository"] = .string(repository)
      $0["behind"] = .stringConvertible(count)
    }
  }
}
