// What a daemon makes of the directory for mirrors at its start. Each test is a process of its own, as those of the
// service are.

import Glibc
import Reactor
import TestSupport
import Testing

@testable import Daemon

@Suite("The cache root")
struct CacheRootTests {
  @Test(
    "a daemon whose profiles all do without mirrors keeps those of an earlier configuration in order",
    .exitTest)
  func earlierConfiguration() async {
    await #expect(processExitsWith: .success) {
      try prepareService()
      try await cleanUpWithoutMirrors()
    }
  }

  @Test(
    "what lies where others could replace it is left alone by a daemon that does not need it, and it says so",
    .exitTest)
  func leftAlone() async {
    await #expect(processExitsWith: .success) {
      try prepareService()
      try await leaveWeakCacheAlone()
    }
  }

  @Test("a daemon with mirrors does not start where others could replace them", .exitTest)
  func refused() async {
    await #expect(processExitsWith: .success) {
      try prepareService()
      try await refuseWeakCache()
    }
  }
}

private let mirror = String(repeating: "0123abcd", count: 4)
private let other = String(repeating: "4567ef01", count: 4)

/// Makes what an earlier configuration's daemons have left: something of this daemon's, and something of another's.
@Loop private func leaveMirrors(_ fixture: ServiceFixture) throws -> (own: [String], others: String) {
  let cache = "\(fixture.scratch.path)/cache"
  let id = Instance.id(fixture.configuration.daemon)
  let (mirrors, clones) = ("\(cache)/mirrors/\(id)", "\(cache)/clones/\(id)")
  let others = "\(cache)/mirrors/ffffffff"
  for path in [
    cache, "\(cache)/mirrors", mirrors, "\(mirrors)/site", "\(mirrors)/site/\(mirror)",
    "\(mirrors)/site/\(other)", "\(mirrors)/site/\(other)/incoming-0-1", "\(cache)/clones", clones,
    "\(clones)/0123456789abcdef", others,
    "\(others)/site", "\(others)/site/\(mirror)",
  ] {
    guard mkdir(path, 0o700) == 0 else { throw CallFailed("mkdir \(path)", errno) }
  }
  for path in ["\(mirrors)/site/\(mirror)", "\(others)/site/\(mirror)"] {
    let longAgo = timespec(tv_sec: 1_000_000_000, tv_nsec: 0)
    guard utimensat(AT_FDCWD, path, [longAgo, longAgo], 0) == 0 else { throw CallFailed("utimensat", errno) }
  }
  let own = [
    "\(mirrors)/site/\(mirror)", "\(mirrors)/site/\(other)/incoming-0-1", "\(clones)/0123456789abcdef",
  ]
  return (own, "\(others)/site/\(mirror)")
}

@Loop private func cleanUpWithoutMirrors() async throws {
  let fixture = try ServiceFixture()
  defer { fixture.scratch.remove() }
  let left = try leaveMirrors(fixture)
  fixture.start()
  let client = try await fixture.connect()
  await ServiceFixture.log.wait(for: "agentd.mirrors_dropped")
  #expect(ServiceFixture.log["agentd.mirrors_dropped"].map { $0["count"] } == ["1"])
  for path in left.own { #expect(!exists(path)) }
  #expect(exists(left.others))
  // Its sessions have nothing to do with them.
  #expect(try await fixture.run(client)?.outcome == "success")
  client.close()
  #expect(raise(SIGTERM) == 0)
  #expect(await fixture.end() == nil)
}

@Loop private func leaveWeakCacheAlone() async throws {
  let fixture = try ServiceFixture()
  defer { fixture.scratch.remove() }
  let left = try leaveMirrors(fixture)
  #expect(chmod("\(fixture.scratch.path)/cache", 0o777) == 0)
  fixture.start()
  let client = try await fixture.connect()
  #expect(try await fixture.run(client)?.outcome == "success")
  client.close()
  #expect(raise(SIGTERM) == 0)
  #expect(await fixture.end() == nil)
  for path in left.own { #expect(exists(path)) }
  let failures = ServiceFixture.log["runner.lifecycle_failure"]
  #expect(failures.map { $0["stage"] } == ["mirrors"])
  #expect(failures.first?["reason"]?.contains("/cache may be written to by everybody") == true)
}

@Loop private func refuseWeakCache() async throws {
  let fixture = try ServiceFixture(hasMirrors: true)
  defer { fixture.scratch.remove() }
  let cache = "\(fixture.scratch.path)/cache"
  #expect(mkdir(cache, 0o700) == 0 && chmod(cache, 0o777) == 0)
  fixture.start()
  #expect(
    await fixture.end()
      == "Mirrors are not kept in \(cache), because \(cache) may be written to by everybody, who could replace what is "
      + "below it: see to that, or name another cache_root.")
  #expect(!exists(fixture.runtimeDirectory))
}
