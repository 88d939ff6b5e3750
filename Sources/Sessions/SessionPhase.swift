// What a live session is doing.

/// The steps of a session, in their order.
public enum SessionPhase: String, Sendable, CaseIterable {
  /// It waits for others to make room.
  case queued
  /// Finding the image, pulling it when it is missing.
  case image
  /// git brings the mirror of the repository up to date on the host.
  case fetch
  /// podman makes the container.
  case launch
  /// The setup inside: user, home, clone.
  case setup
  /// The profile's command runs.
  case command
  /// The container is removed.
  case teardown
  /// The record is made read-only, and the private directory is removed.
  case seal
}
