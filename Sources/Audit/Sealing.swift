// Sealing a record: everything but session.json becomes read-only, in steps that the worker can put other jobs
// between.

internal import Glibc
internal import Reactor
internal import Synchronization

/// The sealing of one record. All that could write into it must have ended.
///
/// A first pass looks at the whole tree and refuses it, unchanged, when something in it must not be sealed. The
/// second pass seals: directories become this user's, where they are another's, and 0555 before they are read;
/// everything else becomes 0444, symlinks stay as they are.
///
/// What was judged is what is changed. A directory is held by a descriptor before it is judged, and is changed
/// through that descriptor, whatever happens to its name meanwhile. Once it is this user's and closed, nobody but
/// this user and root can make a name in it stand for something else, so the files in it are judged and changed by
/// their names, which takes half of the time. In one that could not be taken over, and before Linux 6.6, each file
/// is held as well.
///
/// Only console.log and `runa/` itself are waited for until they are on the disk, in the last step. That commits the
/// journal the other modes are in; waiting for each file would cost a disk access a file, and syncfs would wait for
/// whatever every other session writes to that file system. What is sealed needs no more waiting when it is published.
///
/// With the sealing the last session.json may be put on the disk beside the present one: it is *staged*. The container may
/// be there still, so nobody reads it as session.json; `Record.publish` gives it that name, and waits for no disk then.
///
/// Every function waits for the disk: call it on the worker, never on the loop.
public final class Sealing: Sendable {
  /// How deep directories may be nested in a record, `runa/` included; each level holds one descriptor.
  public static let depthLimit = 256
  /// The mode of a sealed directory.
  static let directoryMode: mode_t = 0o555
  /// The mode of everything else that is sealed.
  static let fileMode: mode_t = 0o444

  /// A last session.json that is on the disk, under the name that it has until it is published. It is held open until then,
  /// with the directory that it is in, or until it is let go.
  public final class Staged: Sendable {
    /// How many are held open at a time: two descriptors each. Any other is opened again when it is published.
    static let heldLimit = 64
    private static let held = Atomic<Int>(0)

    /// What it is published by.
    struct Parts: ~Copyable {
      let agentd: Directory
      let file: Descriptor
    }

    /// Its size in bytes.
    let length: Int
    private let parts: Mutex<Parts?>

    init(_ parts: consuming Parts, length: Int) {
      self.length = length
      if Self.held.add(1, ordering: .relaxed).newValue <= Self.heldLimit {
        self.parts = Mutex(consume parts)
      } else {
        Self.held.subtract(1, ordering: .relaxed)
        self.parts = Mutex(nil)
      }
    }

    /// Hands over what it is published by, once; nil where it is not held open.
    func takeParts() -> Parts? {
      let taken = parts.withLock { $0.take() }
      if taken != nil { Self.held.subtract(1, ordering: .relaxed) }
      return taken
    }

    deinit { _ = takeParts() }
  }

  private enum State {
    case unopened(Record, uid_t, Metadata?)
    case walking(SealingWalk)
    case finished(Staged?)
    case failed(AuditError)
  }

  private let state: Mutex<State>

  /// Opens the record and changes nothing yet.
  public convenience init(record: Record) throws(AuditError) {
    try self.init(record: record, actingAs: geteuid())
  }

  /// `user` decides whether ownership is a reason to stop: root, also that of a user namespace, seals for all.
  init(record: Record, actingAs user: uid_t) throws(AuditError) {
    state = Mutex(.walking(try SealingWalk(record: record, user: user, staging: nil)))
  }

  /// Does nothing yet: the first step opens the record.
  ///
  /// - Parameter staging: the last session.json, as far as it is known, to be staged when all else is sealed; nil for none.
  ///   That this fails is no failure of the sealing.
  public init(of record: Record, staging: Metadata? = nil) {
    state = Mutex(.unopened(record, Sealing.user, staging))
  }

  /// Asked once: a session is too short for a call whose answer does not change.
  private static let user = geteuid()

  /// What was staged; nil when nothing was, or the record is not sealed.
  public var staged: Staged? {
    state.withLock {
      guard case .finished(let staged) = $0 else { return nil }
      return staged
    }
  }

  /// Handles at most this many entries and tells whether the record is sealed. After an error the sealing is
  /// over, and every further step throws the same error; a new `Sealing` starts from the beginning.
  ///
  /// The last step handles none: it is the one that waits for the disk. Of several sealings, those that come to it together
  /// wait for one commit of the journal, where one after the other would wait for one each.
  public func step(entries: Int) throws(AuditError) -> Bool {
    precondition(entries > 0, "a step that handles no entry never ends")
    return try state.withLock { (state: inout sending State) throws(AuditError) -> Bool in
      do throws(AuditError) {
        let walk: SealingWalk
        switch state {
        case .finished:
          return true
        case .failed(let error):
          throw error
        case .unopened(let record, let user, let staging):
          walk = try SealingWalk(record: record, user: user, staging: staging)
          state = .walking(walk)
        case .walking(let begun):
          walk = begun
        }
        guard try walk.advance(entries: entries) else { return false }
        state = .finished(walk.staged)
        return true
      } catch {
        state = .failed(error)
        throw error
      }
    }
  }

  /// Seals the record in one go: for `podman unshare`, where nothing else waits.
  public func sealCompletely() throws(AuditError) {
    while try !step(entries: 1024) {}
  }
}
