// Mirrors, made and brought up to date by the real git from a repository in a directory.

import Glibc
import Reactor
import TestSupport
import Testing

@testable import Engine

/// A remote, a git that writes down its calls and can be held up, and the mirrors that it fills.
@Loop
private final class MirrorFixture {
  private static var worker: Worker?
  nonisolated static let repository = "git://test/remote.git"

  let scratch = Scratch()
  /// A script that is called as git is.
  let git: StubPodman
  let worker: Worker
  var events: [MirrorEvent] = []
  private(set) var mirrors: Mirrors

  init(_ bounds: Mirrors.Bounds = .init()) async throws {
    worker = try Self.worker ?? Worker()
    Self.worker = worker
    // By file:// and not by the path, which git would copy without the protocol that a server speaks.
    git = try StubPodman(
      in: scratch.path,
      """
      export GIT_ALLOW_PROTOCOL=file
      [ "$verb" = -c ] || [ ! -e "$here/on_local" ] || . "$here/on_local"
      case " $* " in *" clone "*) if [ -e "$here/on_fetch" ]; then . "$here/on_fetch"; fi ;; esac
      exec git -c url.file://$here/.insteadOf=git://test/ "$verb" "$@"
      """)
    mirrors = Self.mirrors(git.executable, scratch, worker, bounds)
    mirrors.onEvent = { [weak self] in self?.events.append($0) }
    try await sh(
      """
      git init -q -b main work; cd work; echo one >file; git add file; git commit -qm one
      git branch side; git tag -a -m v1 v1; git tag light; cd ..; git clone -q --bare work remote.git
      """)
  }

  private static func mirrors(
    _ git: String, _ scratch: Scratch, _ worker: Worker, _ bounds: Mirrors.Bounds
  ) -> Mirrors {
    Mirrors(
      git: Git(executable: git), root: "\(scratch.path)/cache", daemon: "0123abcd", maxAge: .seconds(3600),
      environment: ["PATH": "/usr/bin:/bin"], worker: worker, bounds: bounds)
  }

  /// The next daemon of the same instance.
  func restart(executable: String? = nil, _ bounds: Mirrors.Bounds = .init()) {
    mirrors = Self.mirrors(executable ?? git.executable, scratch, worker, bounds)
    mirrors.onEvent = { [weak self] in self?.events.append($0) }
  }

  /// Has something done before a fetch.
  func onFetch(_ script: String) throws { try write("\(script)\n", to: "\(scratch.path)/on_fetch") }

  @discardableResult
  func sh(_ script: String) async throws -> String {
    let variables = [
      "PATH=/usr/bin:/bin", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "HOME=/nonexistent",
      "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b",
    ]
    let result = try await Command(
      executable: "/bin/sh", arguments: ["-ec", "cd '\(scratch.path)'; \(script)"], environment: variables,
      deadline: .seconds(100)
    ).run()
    guard result.succeeded else { throw CallFailed(String(decoding: result.standardError, as: UTF8.self), 0) }
    return String(decoding: result.standardOutput, as: UTF8.self)
  }

  /// Commits on the remote's branch.
  func commit(_ name: String, on branch: String = "main") async throws {
    try await sh(
      "cd work; git checkout -q -B \(branch); echo \(name) >\(name); git add .; git commit -qm \(name); "
        + "git push -qf ../remote.git \(branch)")
  }

  func clone(
    _ session: String, profile: String = "site", repository: String = repository, token: [UInt8]? = nil
  ) async throws(MirrorFailure) -> String {
    try await mirrors.clone(repository, profile: profile, token: token, for: session)
  }

  /// Why there was nothing to clone; nil when there was.
  func failure(_ session: String, profile: String = "site", repository: String = repository) async -> String?
  {
    do throws(MirrorFailure) {
      _ = try await clone(session, profile: profile, repository: repository)
      return nil
    } catch {
      return error.description
    }
  }

  /// All references and the default branch, as a clone of a repository would see them.
  func references(_ path: String) async throws -> String {
    try await sh(
      "git --git-dir='\(path)' for-each-ref; cat '\(path)/HEAD'; git --git-dir='\(path)' fsck --no-dangling 2>/dev/null"
    )
  }

  func fetches() throws -> Int { try git.calls().count { $0.contains(" clone --quiet ") } }

  /// The only mirror there is.
  func mirror() async throws -> String {
    let found = try await sh("ls -d cache/mirrors/0123abcd/*/*").split(separator: "\n")
    #expect(found.count == 1)
    return "\(scratch.path)/\(found.first ?? "")"
  }
}

@Suite("Mirrors")
struct MirrorsTests {
  init() { LoopThread.start() }

  @Test(
    "a session gets what the remote has, its default branch included, and nothing but it is there for others")
  @Loop func first() async throws {
    let fixture = try await MirrorFixture()
    defer { fixture.scratch.remove() }
    let path = try await fixture.clone("s1")
    #expect(try await fixture.references(path) == fixture.references("remote.git"))
    for directory in [
      "cache", "cache/mirrors", "cache/mirrors/0123abcd", "cache/mirrors/0123abcd/site", "cache/clones",
      "cache/clones/0123abcd",
    ] { #expect(mode(of: "\(fixture.scratch.path)/\(directory)") == 0o700, "\(directory)") }
    #expect(mode(of: path) == 0o700)
    #expect(mode(of: try await fixture.mirror()) == 0o700)
    await fixture.mirrors.release("s1")
    #expect(!exists(path))
    await fixture.mirrors.release("s1")
  }

  @Test("twenty sessions that ask at once cause one fetch, and each gets a copy of its own") @Loop
  func together() async throws {
    let fixture = try await MirrorFixture()
    defer { fixture.scratch.remove() }
    let sessions = (0..<20).map { number in
      Loop.spawn { () -> String? in try? await fixture.clone("s\(number)") }
    }
    var paths: Set<String> = []
    for session in sessions { paths.insert(try #require(await session.value)) }
    #expect(paths.count == 20)
    #expect(try fixture.fetches() == 1)
  }

  @Test("a fetch is put off for sessions that are on their way, and only for a moment") @Loop
  func arriving() async throws {
    var bounds = Mirrors.Bounds()
    bounds.arrival = .seconds(3600)
    let fixture = try await MirrorFixture(bounds)
    defer { fixture.scratch.remove() }
    let arrival = fixture.mirrors.expect()
    let first = Loop.spawn { await fixture.failure("s1") }
    // The worker has had its turn, and git would have been started.
    for _ in 0..<3 { await fixture.worker.run {} }
    let second = Loop.spawn {
      arrival.end()
      return await fixture.failure("s2")
    }
    #expect(await first.value == nil)
    #expect(await second.value == nil)
    #expect(try fixture.fetches() == 1)
    // One that never comes.
    bounds.arrival = .milliseconds(1)
    let impatient = try await MirrorFixture(bounds)
    defer { impatient.scratch.remove() }
    let never = impatient.mirrors.expect()
    #expect(await impatient.failure("s3") == nil)
    never.end()
    never.end()
    #expect(try impatient.fetches() == 1)
  }

  @Test("who asks while git runs shares the next fetch, which has what was pushed before") @Loop
  func late() async throws {
    let fixture = try await MirrorFixture()
    defer { fixture.scratch.remove() }
    try await fixture.sh("mkfifo go; : >begun")
    try fixture.onFetch("echo begun >>\"$here/begun\"; read -r word <\"$here/go\"")
    let first = Loop.spawn { try? await fixture.clone("s1") }
    try await fixture.git.wait(for: 1, linesIn: "begun")
    try await fixture.commit("two")
    let others = (2...6).map { number in Loop.spawn { try? await fixture.clone("s\(number)") } }
    try await fixture.sh("echo go >go")
    _ = try #require(await first.value)
    try await fixture.sh("echo go >go")
    for other in others {
      let path = try #require(await other.value)
      #expect(try await fixture.references(path) == fixture.references("remote.git"))
    }
    #expect(try fixture.fetches() == 2)
  }

  @Test("what the remote has changed is there in the next session, and only that is sent") @Loop
  func changes() async throws {
    let fixture = try await MirrorFixture()
    defer { fixture.scratch.remove() }
    try await fixture.sh(
      "cd work; head -c 3000000 /dev/urandom >big; git add big; git commit -qm big; "
        + "git push -q ../remote.git main")
    let steps = [
      ":",  // nothing has changed
      "cd work; echo two >two; git add two; git commit -qm two; git push -q ../remote.git main",
      "git -C remote.git branch -D side",
      "git -C remote.git branch side/way main",  // where a branch was, there is a folder of branches
      "git -C remote.git symbolic-ref HEAD refs/heads/side/way",
      "git -C remote.git tag -f light main~1; git -C remote.git tag -d v1",
      "cd work; git commit -q --amend -m other; git push -qf ../remote.git main",
      "git -C remote.git update-ref --no-deref HEAD $(git -C remote.git rev-parse main~1)",
      "git -C remote.git symbolic-ref HEAD refs/heads/nowhere",
      "rm -rf remote.git; git init -q --bare -b trunk remote.git",
      "cd work; git push -q ../remote.git HEAD:trunk",
    ]
    let firstDrop = try #require(steps.firstIndex { $0.contains("tag -d") })
    for (number, step) in steps.enumerated() {
      try await fixture.sh(step)
      let path = try await fixture.clone("s\(number)")
      #expect(
        try await fixture.references(path) == fixture.references("remote.git"), "after \(step)")
      let large = try await fixture.sh(
        "find cache -name '*.pack' -size +1000k | xargs stat -c %i | sort -u | wc -l")
      // What the remote has dropped is packed away from the rest, which then is another file.
      #expect(number >= firstDrop || large == "1\n", "after \(step)")
      #expect(!exists("\(path)/objects/info/alternates"))
    }
    #expect(fixture.events == [])
    #expect(try fixture.fetches() == steps.count)
  }

  @Test(
    "what was pushed by mistake and taken back is in no later session",
    arguments: [
      "cd work; git push -qf ../remote.git main~1:main", "git -C remote.git tag -d mistake",
      "git -C remote.git branch -D mistake", "git -C remote.git symbolic-ref HEAD refs/heads/main",
    ])
  @Loop func dropped(_ takenBack: String) async throws {
    let fixture = try await MirrorFixture()
    defer { fixture.scratch.remove() }
    _ = try await fixture.clone("s1")
    try await fixture.sh("cd work; echo secret >secret; git add .; git commit -qm mistake")
    switch takenBack {
    case let step where step.contains("tag"):
      try await fixture.sh("cd work; git tag -a -m m mistake; git push -q ../remote.git mistake")
    case let step where step.contains("branch -D"):
      try await fixture.sh("cd work; git push -q ../remote.git main:mistake")
    case let step where step.contains("HEAD"):
      try await fixture.sh(
        "cd work; git push -q ../remote.git main:passing; "
          + "git -C ../remote.git update-ref --no-deref HEAD $(git rev-parse main); git -C ../remote.git branch -D passing"
      )
    default: try await fixture.sh("cd work; git push -q ../remote.git main")
    }
    func has(_ path: String) async throws -> Bool {
      let objects = "$(git -C work rev-parse main main:secret)"
      let found = try await fixture.sh(
        "for object in \(objects); do git --git-dir='\(path)' cat-file -e $object 2>/dev/null && echo there || :; done"
      )
      return !found.isEmpty
    }
    #expect(try await has(try await fixture.clone("s2")))
    try await fixture.sh(takenBack)
    let path = try await fixture.clone("s3")
    #expect(try await !has(path))
    #expect(try await fixture.references(path) == fixture.references("remote.git"))
    #expect(fixture.events == [])
  }

  @Test("a repository of another object format takes the place of one") @Loop
  func format() async throws {
    let fixture = try await MirrorFixture()
    defer { fixture.scratch.remove() }
    _ = try await fixture.clone("s1")
    try await fixture.sh(
      """
      rm -rf remote.git; git init -q -b main --object-format=sha256 new; cd new; echo x >x; git add x
      git commit -qm x; cd ..; git clone -q --bare new remote.git
      """)
    for session in ["s2", "s3"] {
      let path = try await fixture.clone(session)
      #expect(try await fixture.references(path) == fixture.references("remote.git"))
    }
    #expect(fixture.events.count == 1)
  }

  @Test(
    "a broken mirror is made from nothing, once, and that is told",
    arguments: [
      "rm objects/pack/*.pack", "rm objects/pack/*.idx", "echo '[[[' >config", "rm HEAD",
      "echo x >packed-refs",
      "rm -rf objects", "truncate -s 100 objects/pack/*.pack", "rm stamp", ": >stamp",
      "for i in objects/pack/*; do chmod u+w $i; printf XXXX | dd of=$i bs=1 seek=40 conv=notrunc 2>/dev/null; done",
    ])
  @Loop func broken(_ damage: String) async throws {
    let fixture = try await MirrorFixture()
    defer { fixture.scratch.remove() }
    let before = try await fixture.clone("s1")
    // Copies first: the packs that a session has must not be what is damaged.
    try await fixture.sh("cp -a '\(before)' kept; cd '\(fixture.mirror())/repository'; \(damage)")
    for session in ["s2", "s3"] {
      let path = try await fixture.clone(session)
      #expect(try await fixture.references(path) == fixture.references("remote.git"))
    }
    #expect(fixture.events.count == 1)
    guard case .rebuilt("site", MirrorFixture.repository, _) = fixture.events.first else {
      Issue.record("\(fixture.events)")
      return
    }
  }

  @Test(
    "a rotten pack that looks as it did is found where git needs it, or by the session that cannot clone it")
  @Loop func rotten() async throws {
    let fixture = try await MirrorFixture()
    defer { fixture.scratch.remove() }
    _ = try await fixture.clone("s1")
    try await fixture.sh(
      """
      cd '\(fixture.mirror())/repository/objects/pack'; touch -r *.pack time; chmod u+w *.pack
      for i in 30 60 90 120 150 180; do printf XXXXXXXX | dd of=$(echo *.pack) bs=1 seek=$i conv=notrunc 2>/dev/null; done
      chmod u-w *.pack; touch -r time *.pack; rm time
      """)
    try await fixture.commit("two")
    let path = try await fixture.clone("s2")
    #expect(try await fixture.references(path) == fixture.references("remote.git"))
    #expect(fixture.events.count == 1)
    fixture.mirrors.suspect(MirrorFixture.repository, profile: "site")
    _ = try await fixture.clone("s3")
    _ = try await fixture.clone("s4")
    #expect(fixture.events.count == 2)
  }

  @Test(
    "a remote that refuses fails the session in git's words, without the token; the mirror stays, and is not used"
  )
  @Loop func refused() async throws {
    let fixture = try await MirrorFixture()
    defer { fixture.scratch.remove() }
    _ = try await fixture.clone("s1")
    try fixture.onFetch(
      "echo 'remote: s3cret is no token' >&2; echo 'fatal: Authentication failed' >&2; exit 128")
    do throws(MirrorFailure) {
      _ = try await fixture.clone("s2", token: Array("s3cret".utf8))
      Issue.record("a stale mirror was handed out")
    } catch {
      #expect(error.description == "remote: ... is no token; fatal: Authentication failed")
    }
    #expect(try fixture.fetches() == 2)
    try fixture.onFetch("")
    _ = try await fixture.clone("s3")
    #expect(fixture.events == [])
    #expect(!(try fixture.git.calls().contains { $0.contains("s3cret") }))
    try await fixture.sh("mv remote.git gone")
    #expect(
      await fixture.failure("s4")?.contains("remote.git' does not appear to be a git repository") == true)
    #expect(!exists("\(fixture.scratch.path)/cache/clones/0123abcd/s4"))
  }

  @Test("the token is git's for an https URL, in its environment and in no word") @Loop
  func token() async throws {
    let fixture = try await MirrorFixture()
    defer { fixture.scratch.remove() }
    try fixture.onFetch(
      """
      for word; do case $word in credential.https://h.example.helper=*) helper=${word#*=!} ;; esac; done
      sh -c "$helper get" >"$here/answer"; exit 128
      """)
    let token = Array("a\\0101'$x\"".utf8)
    _ = try? await fixture.clone("s1", repository: "https://h.example/r", token: token)
    #expect(
      try contents(of: "\(fixture.scratch.path)/answer")
        == "username=x-access-token\npassword=a\\0101'$x\"\n")
    #expect(!(try fixture.git.calls().contains { $0.contains("'$x") }))
  }

  @Test("profiles share nothing, nor do repositories") @Loop
  func apart() async throws {
    let fixture = try await MirrorFixture()
    defer { fixture.scratch.remove() }
    try await fixture.sh("cp -a remote.git other.git")
    _ = try await fixture.clone("s1", profile: "one")
    _ = try await fixture.clone("s2", profile: "two")
    _ = try await fixture.clone("s3", profile: "two", repository: "git://test/other.git")
    let count = try await fixture.sh("find cache/mirrors -name '*.pack' | xargs stat -c %i | sort -u | wc -l")
    #expect(count == "3\n")
    try fixture.onFetch("exit 128")
    #expect(await fixture.failure("s4", profile: "three") != nil)
  }

  @Test("what killed gits and daemons left is in nobody's way, and goes at the next start") @Loop
  func leftovers() async throws {
    let fixture = try await MirrorFixture()
    defer { fixture.scratch.remove() }
    _ = try await fixture.clone("s1")
    _ = try await fixture.clone("s2")
    let mirror = try await fixture.mirror()
    try await fixture.sh(
      """
      cd '\(mirror)'; mkdir -p incoming-0-1/objects/pack removed-0-2 mine; : >incoming-0-1/objects/pack/tmp_pack_1
      : >repository/HEAD.lock; : >repository/packed-refs.lock; : >repository/config.lock
      mkdir ../removed-0-3 ../mine ../../../other
      """)
    fixture.restart()
    await fixture.mirrors.start(keeping: ["s2"])
    let path = try await fixture.clone("s3")
    #expect(try await fixture.references(path) == fixture.references("remote.git"))
    // It goes on beside that: the last of it is the removal of what was not used, which comes after all of this.
    let left = ["incoming-0-1", "removed-0-2", "../removed-0-3"].map { "\(mirror)/\($0)" }
    while left.contains(where: exists) { await Loop.yield() }
    #expect(exists("\(mirror)/mine") && exists("\(mirror)/../mine") && exists("\(mirror)/../../../other"))
    #expect(try await fixture.sh("ls cache/clones/0123abcd") == "s2\ns3\n")
    #expect(try await fixture.sh("ls '\(mirror)/repository' | grep -c lock || :") == "0\n")
    #expect(fixture.events == [])
  }

  @Test("a stopped session waits no longer; git ends when nobody waits, and goes on for others") @Loop
  func abandoned() async throws {
    let fixture = try await MirrorFixture()
    defer { fixture.scratch.remove() }
    try await fixture.sh("mkfifo go; : >begun")
    try fixture.onFetch("echo begun >>\"$here/begun\"; read -r word <\"$here/go\"")
    let first = Loop.spawn { await fixture.failure("s1") }
    let second = Loop.spawn { await fixture.failure("s2") }
    try await fixture.git.wait(for: 1, linesIn: "begun")
    let third = Loop.spawn { await fixture.failure("s3") }
    await Loop.yield()
    fixture.mirrors.abandon("s1")
    #expect(await first.value == "the session was stopped")
    fixture.mirrors.abandon("s3")
    #expect(await third.value == "the session was stopped")
    try await fixture.sh("echo go >go")
    #expect(await second.value == nil)
    let fourth = Loop.spawn { await fixture.failure("s4") }
    try await fixture.git.wait(for: 2, linesIn: "begun")
    fixture.mirrors.abandon("s4")
    #expect(await fourth.value == "the session was stopped")
    // Nobody opens its FIFO: it was killed, or this would wait for it.
    try fixture.onFetch("")
    #expect(await fixture.failure("s5") == nil)
    #expect(try await fixture.sh("ls '\(fixture.mirror())'") == "repository\n")
  }

  @Test("closing ends git, and those who wait are told") @Loop
  func closed() async throws {
    let fixture = try await MirrorFixture()
    defer { fixture.scratch.remove() }
    try await fixture.sh(": >begun")
    try fixture.onFetch("echo begun >>\"$here/begun\"; exec sleep 1000")
    let first = Loop.spawn { await fixture.failure("s1") }
    try await fixture.git.wait(for: 1, linesIn: "begun")
    let second = Loop.spawn { await fixture.failure("s2") }
    await Loop.yield()
    await fixture.mirrors.close()
    #expect(await first.value == "git ended with signal 9")
    #expect(await second.value == "the daemon is stopping")
    #expect(await fixture.failure("s3") == "the daemon is stopping")
  }

  @Test("a git that a killed daemon left is ended by the next one, and one that is run by hand is not") @Loop
  func orphan() async throws {
    let fixture = try await MirrorFixture()
    defer { fixture.scratch.remove() }
    // A server that takes the connection and says nothing.
    let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    defer { close(server) }
    var address = sockaddr_in()
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    let isListening = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(server, $0, length) == 0 && getsockname(server, $0, &length) == 0 && listen(server, 1) == 0
      }
    }
    try #require(isListening)
    let url = "git://127.0.0.1:\(UInt16(bigEndian: address.sin_port))/r"
    fixture.restart(executable: "/usr/bin/git")
    let killed = fixture.mirrors
    let first = Loop.spawn { () -> String? in
      do throws(MirrorFailure) {
        return try await killed.clone(url, profile: "site", token: nil, for: "s1")
      } catch {
        return error.description
      }
    }
    let connection = await fixture.worker.run { accept(server, nil, nil) }
    defer { close(connection) }
    // One that somebody runs by hand on a mirror.
    try await fixture.sh("mkfifo go")
    let byHand = try Child(
      Command(
        executable: "/usr/bin/git",
        arguments: [
          "-c", "alias.wait=!read word <'\(fixture.scratch.path)/go'; exit 7",
          "-c", "gc.pruneExpire=\(fixture.mirrors.mirrorsPath)/site/any", "wait",
        ],
        environment: ["PATH=/usr/bin:/bin"], deadline: .seconds(60)))
    fixture.restart(executable: "/usr/bin/git")
    await fixture.mirrors.start(keeping: [])
    #expect(await first.value == "git ended with signal 9")
    #expect(fixture.events.count == 1)
    try await fixture.sh("echo on >go")
    #expect(await byHand.wait().status == .exited(7))
  }

  @Test("mirrors that nobody asked for are dropped; others, and what is not a mirror, stay") @Loop
  func unused() async throws {
    let fixture = try await MirrorFixture()
    defer { fixture.scratch.remove() }
    try await fixture.sh("cp -a remote.git other.git")
    _ = try await fixture.clone("s1")
    let old = try await fixture.mirror()
    try await fixture.sh(
      "touch -d '2 hours ago' '\(old)'; mkdir -p cache/mirrors/0123abcd/site/mine; "
        + "touch -d '2 hours ago' cache/mirrors/0123abcd/site/mine")
    _ = try await fixture.clone("s2", repository: "git://test/other.git")
    fixture.restart()
    await fixture.mirrors.start(keeping: [])
    while exists(old) || fixture.events.isEmpty { await Loop.yield() }
    #expect(fixture.events == [.dropped(count: 1)])
    #expect(try await fixture.sh("ls cache/mirrors/0123abcd/site | wc -l") == "2\n")
    #expect(await fixture.failure("s3") == nil)
  }

  @Test(
    "a repository larger than a mirror may be is refused and leaves nothing", arguments: [1 << 20, 2_500_000])
  @Loop func size(_ limit: Int) async throws {
    var bounds = Mirrors.Bounds()
    bounds.size = UInt64(limit)
    let fixture = try await MirrorFixture(bounds)
    defer { fixture.scratch.remove() }
    // The larger bound lets each of two packs be, and not both together.
    if limit > 2_000_000 {
      try await fixture.sh(
        "cd work; head -c 2000000 /dev/urandom >a; git add a; git commit -qm a; "
          + "git push -q ../remote.git main")
      _ = try await fixture.clone("s0")
    }
    try await fixture.sh(
      "cd work; head -c 2000000 /dev/urandom >b; git add b; git commit -qm b; "
        + "git push -q ../remote.git main")
    #expect(
      await fixture.failure("s1")
        == "it is larger than the \(limit >> 20) MiB that a mirror may have, or memory ran out: "
        + "set repo_cache = false in its profile")
    #expect(try await fixture.sh("find cache/mirrors -name 'incoming-*'") == "")
  }

  @Test("a remote that sends any number of small files is given up while it does, and leaves nothing") @Loop
  func smallFiles() async throws {
    var bounds = Mirrors.Bounds()
    bounds.size = 1 << 20
    bounds.lookInterval = .milliseconds(1)
    let fixture = try await MirrorFixture(bounds)
    defer { fixture.scratch.remove() }
    // As git does with a server that knows nothing of its protocol: each object is a file, far below any limit of one.
    try fixture.onFetch(
      """
      for directory; do :; done
      mkdir -p "$directory/objects/00"
      while number=$((number + 1)); do echo x >"$directory/objects/00/$number"; done
      """)
    let sentence =
      "it is larger than the 1 MiB that a mirror may have, or memory ran out: set repo_cache = false in its profile"
    #expect(await fixture.failure("s1") == sentence)
    #expect(try await fixture.sh("find cache/mirrors -name 'incoming-*'") == "")
    // One that comes to its end before anybody has looked.
    bounds.lookInterval = .seconds(3600)
    fixture.restart(bounds)
    try fixture.onFetch(
      """
      for directory; do :; done
      mkdir -p "$directory/objects/00"
      while number=$((number + 1)) && [ $number -le 64 ]; do echo x >"$directory/objects/00/$number"; done
      exit
      """)
    #expect(await fixture.failure("s2") == sentence)
    #expect(try await fixture.sh("find cache/mirrors -name 'incoming-*'") == "")
  }

  @Test("what a git has started that something else has killed is ended as well") @Loop
  func remains() async throws {
    let fixture = try await MirrorFixture()
    defer { fixture.scratch.remove() }
    // In a group of its own, even.
    try fixture.onFetch(
      """
      mkfifo "$here/told" "$here/never"
      setsid sh -c 'echo $$ >"$0/child"; echo up >"$0/told"; read -r line <"$0/never"' "$here" &
      read -r line <"$here/told"
      kill -KILL $$
      """)
    #expect(await fixture.failure("s1") == "git ended with signal 9")
    let child = try #require(Int32(try contents(of: "\(fixture.scratch.path)/child").dropLast()))
    #expect(Process.arguments(of: child) == nil)
  }

  @Test("a mirror goes by its age while the daemon runs, whether or not anything is fetched") @Loop
  func ageing() async throws {
    var bounds = Mirrors.Bounds()
    bounds.sweepInterval = .milliseconds(1)
    let fixture = try await MirrorFixture()
    defer { fixture.scratch.remove() }
    _ = try await fixture.clone("s1")
    let mirror = try await fixture.mirror()
    try await fixture.sh("touch -d '3598 seconds ago' '\(mirror)'")
    fixture.restart(bounds)
    let told = Latch()
    fixture.mirrors.onEvent = {
      #expect($0 == .dropped(count: 1))
      told.open()
    }
    await fixture.mirrors.start(keeping: [])
    await told.wait()
    #expect(!exists(mirror))
    await fixture.mirrors.close()
  }

  @Test("a fetch that takes too long is killed") @Loop
  func deadline() async throws {
    var bounds = Mirrors.Bounds()
    bounds.deadline = .seconds(1)
    let fixture = try await MirrorFixture(bounds)
    defer { fixture.scratch.remove() }
    try fixture.onFetch("exec sleep 1000")
    #expect(await fixture.failure("s1") == "git took longer than 1 s and was killed")
  }

  @Test("many packs become one while nobody waits, and whoever comes meanwhile does not wait for it") @Loop
  func consolidation() async throws {
    var bounds = Mirrors.Bounds()
    bounds.packs = 2
    let fixture = try await MirrorFixture(bounds)
    defer { fixture.scratch.remove() }
    for number in 1...2 {
      try await fixture.commit("c\(number)")
      _ = try await fixture.clone("s\(number)")
    }
    // The next one is left to hang in the middle of it.
    try await fixture.sh(": >begun")
    try write(
      "case \" $* \" in *\" repack \"*) echo begun >>\"$here/begun\"; exec sleep 1000 ;; esac\n",
      to: "\(fixture.scratch.path)/on_local")
    try await fixture.commit("c3")
    let third = try await fixture.clone("s3")
    try await fixture.git.wait(for: 1, linesIn: "begun")
    try await fixture.commit("c4")
    try await fixture.sh("rm on_local")
    let fourth = try await fixture.clone("s4")
    #expect(try await fixture.references(fourth) == fixture.references("remote.git"))
    let mirror = try await fixture.mirror()
    let packs = { try await fixture.sh("ls '\(mirror)/repository/objects/pack/' | grep -c 'pack$' || :") }
    while try await packs() != "1\n" { await Loop.yield() }
    // What was handed out before is as it was.
    #expect(try await fixture.sh("git --git-dir='\(third)' fsck --full") == "")
    try await fixture.commit("c5")
    let fifth = try await fixture.clone("s5")
    #expect(try await fixture.references(fifth) == fixture.references("remote.git"))
    #expect(fixture.events == [])
  }
}
