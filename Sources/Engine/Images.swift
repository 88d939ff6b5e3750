// Which image a reference means, asked of podman only when its store has changed.

internal import Glibc
internal import Reactor

/// Remembers what references mean and pulls what is missing, once for all who wait for it.
@Loop
final class Images {
  /// How long a pull may take.
  private static let pullDeadline: Duration = .seconds(1800)
  /// References that are remembered; a configuration holds fewer. Beyond it everything is asked anew.
  private static let cacheLimit = 1024

  /// A file of podman's store that is replaced with every change of an image or a name. Its state before a question
  /// says how long the answer holds.
  private struct Stamp: Equatable {
    var inode: UInt64
    var size: Int64
    var seconds: Int
    var nanoseconds: Int
  }

  @Loop private final class Search {
    let ended = Latch()
    var result: Result<ImageIdentity, EngineError> = .failure(
      EngineError(description: "the search was abandoned"))
  }

  private unowned let containers: Containers
  private var known: [String: (identity: ImageIdentity, stamp: Stamp)] = [:]
  private var searches: [String: Search] = [:]
  /// The file that a `Stamp` is of; nil before podman has been asked, and then nothing is remembered.
  var indexPath: String?

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

  /// What a reference means, where that was asked before and holds; else nil.
  func remembered(_ reference: String) async -> ImageIdentity? {
    guard known[reference] != nil, let stamp = await currentStamp() else { return nil }
    guard let entry = known[reference], entry.stamp == stamp else { return nil }
    return entry.identity
  }

  private func find(_ reference: String) async throws(EngineError) -> ImageIdentity {
    let stamp = await currentStamp()
    if let entry = known[reference], entry.stamp == stamp { return entry.identity }
    if let identity = try await inspect(reference) { return remember(reference, identity, stamp) }
    try await pull(reference)
    let pulled = await currentStamp()
    if let identity = try await inspect(reference) { return remember(reference, identity, pulled) }
    throw EngineError(description: "the image \(reference) was pulled and is not there: correct base_image")
  }

  private func remember(_ reference: String, _ identity: ImageIdentity, _ stamp: Stamp?) -> ImageIdentity {
    if known.count >= Self.cacheLimit { known = [:] }
    known[reference] = stamp.map { (identity, $0) }
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

  private func currentStamp() async -> Stamp? {
    guard let indexPath else { return nil }
    return await containers.worker.run {
      var status = stat()
      guard stat(indexPath, &status) == 0 else { return nil }
      return Stamp(
        inode: UInt64(status.st_ino), size: Int64(status.st_size), seconds: status.st_mtim.tv_sec,
        nanoseconds: status.st_mtim.tv_nsec)
    }
  }
}
