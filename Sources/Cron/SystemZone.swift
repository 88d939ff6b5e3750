// The zones of this machine, as glibc reads them. The one file of the room that is not pure.

internal import Glibc
internal import Synchronization
public import Time

/// A zone of this machine: what it says now, and which file it says so in.
public struct SystemZone: Sendable {
  /// Why a zone cannot be had: one sentence without a full stop, to follow the zone's name.
  public struct Failure: Error, Sendable, CustomStringConvertible {
    /// The sentence.
    public let description: String

    /// A failure with this sentence.
    public init(description: String) { self.description = description }
  }

  /// How far ahead of the moment that it was read for a zone is known. The rarest expression, a leap day on a given
  /// weekday, waits 40 years across 2100.
  public static let horizon: Duration = .seconds(50 * 366 * secondsPerDay)
  /// Offsets are asked for this far apart, and searched only between two that differ. The shortest time after which the
  /// tz database has a clock changed back is a week, in Gaza around Ramadan.
  private static let step = 3 * secondsPerDay
  private static let zoneDirectory = "/usr/share/zoneinfo"
  /// What glibc rightly takes for UTC also on a machine without tzdata, as small containers are.
  private static let namesOfUTC: Set<String> = ["UTC", "Etc/UTC", "GMT", "Etc/GMT", "Universal", "Zulu"]
  /// Longer than the name of any zone.
  private static let nameByteLimit = 128
  /// The zone of the process is a variable of glibc's: one reader at a time.
  private static let reading = Mutex<Void>(())

  /// What glibc says.
  public let zone: Zone
  /// The file that it says so in; nil when TZ holds a rule, and for UTC where that has no file.
  public let file: String?

  /// A zone that is known already.
  public init(_ zone: Zone, file: String?) {
    self.zone = zone
    self.file = file
  }

  /// Reads a zone.
  ///
  /// It changes TZ in the environment for the time of the call: nobody else may read or change the environment
  /// meanwhile, so the daemon calls it on the loop's thread, which is the only one that does.
  ///
  /// - Parameters:
  ///   - name: a zone of the tz database, such as `Europe/Berlin`; nil for the local time of this process, that is TZ or
  ///     else /etc/localtime.
  ///   - moment: the zone is known from two days before it until `horizon` after it.
  public init(_ name: String?, around moment: Timestamp) throws(Failure) {
    if let name {
      file = try Self.file(named: name)
      zone = Self.read(name, asTZ: name, around: moment)
    } else if let text = Self.reading.withLock({ _ in Self.valueOfTZ }) {
      file = try Self.file(forTZ: text)
      zone = Self.read(text.isEmpty ? "UTC" : text, asTZ: text, around: moment)
    } else {
      file = "/etc/localtime"
      zone = Self.read(Self.localName, asTZ: nil, around: moment)
    }
  }

  /// What tells one version of the zone's file from another.
  public struct Stamp: Sendable, Equatable {
    fileprivate let device: UInt64
    fileprivate let inode: UInt64
    fileprivate let modified: Timestamp
  }

  /// The version of the file that a path leads to; nil when there is none. Asks the disk.
  public static func stamp(of file: String) -> Stamp? {
    var status = stat()
    guard stat(file, &status) == 0 else { return nil }
    let modified =
      Timestamp(secondsSinceEpoch: Int64(status.st_mtim.tv_sec)) + .nanoseconds(status.st_mtim.tv_nsec)
    return Stamp(device: UInt64(status.st_dev), inode: UInt64(status.st_ino), modified: modified)
  }

  // MARK: Names

  private static func file(named name: String) throws(Failure) -> String? {
    let isPlain = name.utf8.allSatisfy {
      ($0 | 0x20 >= UInt8(ascii: "a") && $0 | 0x20 <= UInt8(ascii: "z")) || "0123456789_+-/".utf8.contains($0)
    }
    guard !name.isEmpty, name.utf8.count <= nameByteLimit, isPlain, name.utf8.first != UInt8(ascii: "/")
    else {
      throw Failure(description: "is not the name of a zone; use one like Europe/Berlin")
    }
    let path = "\(directory)/\(name)"
    guard isZoneFile(path) else {
      if namesOfUTC.contains(name) { return nil }
      throw Failure(
        description: "is not a zone of this machine; use one of \(directory) such as Europe/Berlin, "
          + "or install tzdata")
    }
    return path
  }

  /// What TZ may hold by tzset(3): a file, a name in the zone directory or a rule like CET-1CEST,M3.5.0,M10.5.0/3.
  private static func file(forTZ text: String) throws(Failure) -> String? {
    let name = text.hasPrefix(":") ? String(text.dropFirst()) : text
    guard !name.isEmpty else { return nil }
    let path = name.hasPrefix("/") ? name : "\(directory)/\(name)"
    if isZoneFile(path) { return path }
    if namesOfUTC.contains(name) { return nil }
    // Without a file glibc takes it for a rule, and reads UTC where it is none: a rule has its standard offset.
    let rest = name.hasPrefix("<") ? name.drop { $0 != ">" }.dropFirst() : name.drop { $0.isLetter }
    let number = rest.first == "+" || rest.first == "-" ? rest.dropFirst() : rest
    guard name.utf8.count - rest.utf8.count >= 3, let digit = number.utf8.first, (0x30...0x39).contains(digit)
    else {
      throw Failure(
        description: "is what TZ holds, and it names no zone of this machine; correct it, or install tzdata")
    }
    return nil
  }

  /// TZDIR is glibc's own way to keep zones elsewhere.
  private static var directory: String { getenv("TZDIR").map { String(cString: $0) } ?? zoneDirectory }

  private static func isZoneFile(_ path: String) -> Bool {
    let fd = open(path, O_RDONLY | O_CLOEXEC)
    guard fd >= 0 else { return false }
    defer { close(fd) }
    var magic = [UInt8](repeating: 0, count: 4)
    return Glibc.read(fd, &magic, 4) == 4 && magic.elementsEqual("TZif".utf8)
  }

  /// The name behind /etc/localtime, which is a link into the zone directory nearly everywhere.
  private static var localName: String {
    guard let resolved = realpath("/etc/localtime", nil) else { return "local time" }
    defer { free(resolved) }
    let path = String(cString: resolved)
    guard let range = path.range(of: "/zoneinfo/") else { return "local time" }
    return String(path[range.upperBound...])
  }

  // MARK: Asking glibc

  private static func read(_ name: String, asTZ value: String?, around moment: Timestamp) -> Zone {
    asking(value) { probe(name, around: moment) }
  }

  /// Has `body` ask glibc while TZ holds another value, nil for none.
  static func asking<Answer>(_ value: String?, _ body: () -> Answer) -> Answer {
    reading.withLock { _ in
      let before = valueOfTZ
      // Another value in between, so that a file that has changed is read again.
      set("UTC0")
      tzset()
      set(value)
      tzset()
      defer {
        set(before)
        tzset()
      }
      return body()
    }
  }

  /// To be asked for under the lock: outside of it, it may be what another reader has set for a moment.
  private static var valueOfTZ: String? { getenv("TZ").map { String(cString: $0) } }

  private static func set(_ value: String?) {
    if let value { setenv("TZ", value, 1) } else { unsetenv("TZ") }
  }

  private static func probe(_ name: String, around moment: Timestamp) -> Zone {
    let end = moment + horizon
    var second = (moment - .seconds(2 * secondsPerDay)).secondsSinceEpoch
    let first = offset(at: second)
    var offset = first
    var transitions: [Zone.Transition] = []
    while second < end.secondsSinceEpoch {
      let next = min(second + step, end.secondsSinceEpoch)
      let later = Self.offset(at: next)
      if later != offset {
        var (old, new) = (second, next)
        while new - old > 1 {
          let middle = old + (new - old) / 2
          if Self.offset(at: middle) == offset { old = middle } else { new = middle }
        }
        offset = Self.offset(at: new)
        transitions.append(Zone.Transition(second: new, offset: offset))
        // From the transition itself: there may be a second one before `next`.
        second = new
      } else {
        second = next
      }
    }
    return Zone(name: name, offset: first, transitions: transitions, end: end)
  }

  private static func offset(at second: Int64) -> Int64 {
    var second = time_t(second)
    var local = tm()
    localtime_r(&second, &local)
    return Int64(local.tm_gmtoff)
  }
}

extension String {
  /// Where a part first occurs.
  fileprivate func range(of part: String) -> Range<Index>? {
    indices.lazy.compactMap { start in
      self[start...].hasPrefix(part) ? start..<self.index(start, offsetBy: part.count) : nil
    }.first
  }
}
