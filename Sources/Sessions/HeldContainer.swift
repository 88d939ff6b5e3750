// The processes of a container that runs, held so that nothing else can be meant.

internal import Engine
internal import Reactor

/// A container's init and its conmon, each by a pidfd. Whoever holds them closes them, on every path.
@Loop
struct HeldContainer {
  /// The container's init; nil when it has ended.
  let process: Process?
  /// Who writes its output down; nil when it has ended.
  let conmon: Process?

  /// Holds a container that podman has just started.
  ///
  /// - Parameters:
  ///   - pid: of its init, as podman wrote it down. It may be another's by now, so it is believed only while conmon is
  ///     its parent.
  ///   - conmon: of its conmon.
  /// - Throws: when the kernel grants no descriptor; nothing is held then.
  init(launched pid: Int32?, childOf conmon: Int32?) throws(SystemError) {
    guard let pid, let conmon else {
      process = nil
      self.conmon = nil
      return
    }
    self.conmon = try Self.hold(conmon, needsStatus: false)
    do throws(SystemError) {
      process = try Self.hold(pid, childOf: conmon)
    } catch {
      self.conmon?.close()
      throw error
    }
  }

  /// Holds the container of an earlier daemon, by what podman says of it. A number is believed only where the process
  /// says the same: conmon by the container's id among its words, the init by its parent or by its cgroup.
  init(_ container: ContainerInspection?) throws(SystemError) {
    let conmon = try container?.conmonPid.flatMap { (pid) throws(SystemError) in
      try Self.hold(pid, needsStatus: false) {
        Process.arguments(of: pid)?.contains(container?.id ?? "") == true
      }
    }
    self.conmon = conmon
    guard let container, container.exit.state != .dead, let pid = container.pid else {
      process = nil
      return
    }
    do throws(SystemError) {
      process = try Self.hold(pid) {
        conmon != nil && Process.parent(of: pid) == container.conmonPid
          || Process.cgroup(of: pid, holds: container.id)
      }
    } catch {
      conmon?.close()
      throw error
    }
  }

  /// Holds first and confirms then, so that what was confirmed is what is held. nil when there is no such process, or
  /// it is another one.
  private static func hold(
    _ pid: Int32, childOf parent: Int32? = nil, needsStatus: Bool = true, _ isMeant: () -> Bool = { true }
  ) throws(SystemError) -> Process? {
    let process: Process
    do throws(SystemError) {
      // Of ten thousand sessions that wait for their ends none needs a descriptor: see `StowedFile`.
      process = try Process(pid: pid, childOf: parent, needsStatus: needsStatus, isStowed: true)
    } catch {
      guard error.errno != .noSuchProcess else { return nil }
      throw error
    }
    guard isMeant() else {
      process.close()
      return nil
    }
    return process
  }

  /// Lets both go. The status of the init stays known.
  func close() {
    process?.close()
    conmon?.close()
  }
}
