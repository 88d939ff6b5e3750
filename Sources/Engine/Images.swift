// Which image a reference means, asked of podman only when its store has changed.

internal import Glibc
internal import Reactor

/// Podman's store of images, as a file shows it that is replaced with every change of an image or a name. Its state before a
/// question says how long the answer holds.
public struct ImageStore: Sendable {
  /// A state of the store.
  public struct State: Sendable, Equatable {
    let inode: UInt64
    let size: Int64
    let seconds: Int
    let nanoseconds: Int
  }

  let index: String

  /// What it is now; nil when that cannot be told. Waits for a disk.
  public var state: State? {
    var status = stat()
    guard stat(index, &status) == 0 else { return nil }
    return State(
      inode: UInt64(status.st_ino), size: Int64(status.st_size), seconds: status.st_mtim.tv_sec,
      nanoseconds: status.st_mtim.tv_nsec)
  }
}

/// Remembers what references mean and pulls what is missing, once for all who wait for it.
@Loop
final class Images {
  /// How long a pull may take.
  private static let pullDeadline: Duration = .seconds(1800)
  /// References that are remembered; a configuration holds fewer. Beyond it everything is asked anew.
  private static let cacheLimit = 1024

  @Loop private final class Search {
    let ended = Latch()
    var result: Result<ImageIdentity, EngineError> = .failure(
      EngineError(description: "the search was abandoned"))
  }

  private unowned let containers: Containers
  private var known: [String: (identity: ImageIdentity, state: ImageStore.State)] = [:]
  private var searches: [String: Search] = [:]
  /// nil before podman has been asked, and then nothing is remembered.
  var store: ImageStore?

  init(_ containers: Containers) { self.containers = containers }

  func forget(_ reference: String) { known[reference] = nil }

  func resolve(_ reference: String) async throws(EngineError) -> ImageIdentity {
    if let running = searches[reference] {
      await running.ended.wait()
      return try running.result.get()
    }
    let search = Search()
    searches[reference] = search
    do throws(EngineError) {
      search.result = .success(try await find(reference))
    } catch {
      search.result = .failure(error)
    }
    searches[reference] = nil
    search.ended.open()
    return try search.result.get()
  }

  /// What a reference means in a state of the store, where that was asked before; else nil.
  func remembered(_ reference: String, for state: ImageStore.State?) -> ImageIdentity? {
    guard let state, let entry = known[reference], entry.state == state else { return nil }
    return entry.identity
  }

  private func find(_ reference: String) async throws(EngineError) -> ImageIdentity {
    let state = await currentState()
    if let identity = remembered(reference, for: state) { return identity }
    if let identity = try await inspect(reference) { return remember(reference, identity, state) }
    try await pull(reference)
    let pulled = await currentState()
    if let identity = try await inspect(reference) { return remember(reference, identity, pulled) }
    throw EngineError(description: "the image \(reference) was pulled and is not there: correct base_image")
  }

  private func remember(_ reference: String, _ identity: ImageIdentity, _ state: ImageStore.State?)
    -> ImageIdentity
  {
    if known.count >= Self.cacheLimit { known = [:] }
    known[reference] = state.map { (identity, $0) }
    return identity
  }

  /// nil when podman does not have it.
  private func inspect(_ reference: String) async throws(EngineError) -> ImageIdentity? {
    let arguments = containers.podman.inspectImage(reference)
    // podman 4 and 5 use one of these phrases; any other failure says nothing about the image.
    let result = try await containers.ask(arguments, about: reference) { result in
      let words = Containers.text(result.standardError)
      return ["image not known", "no such image", "failed to find image"].contains { words.contains($0) }
    }
    guard result.succeeded else { return nil }
    if let identity = ImageIdentity(parsing: Containers.text(result.standardOutput)) { return identity }
    throw EngineError(description: "podman image inspect printed something that is not understood")
  }

  private func pull(_ reference: String) async throws(EngineError) {
    let arguments = containers.podman.pull(reference)
    let result = try await containers.runOutsideGate(arguments, deadline: Self.pullDeadline)
    guard result.succeeded else {
      let failure = Containers.failure(of: arguments, result)
      throw EngineError(description: "the image \(reference) is not in podman's store and \(failure)")
    }
  }

  private func currentState() async -> ImageStore.State? {
    guard let store else { return nil }
    return await containers.worker.run { store.state }
  }
}
