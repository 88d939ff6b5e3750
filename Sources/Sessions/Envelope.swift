// The bytes that release a session: what the container is told only once the daemon watches it.

/// What goes into a session's FIFO: one part for the privileged setup, one for the command's user.
///
/// Lines of ASCII, in this order:
/// ```
/// +REPOSITORY                first part, read by root
/// +WORK_UNIT or -            `-` stands for "not given"
/// +CLONE_TOKEN or -
/// COUNT                      second part, read by the user after gosu
/// NAME VALUE                 COUNT times
/// ```
/// Values are encoded so that none can hold a space or a newline: what is not plainly harmless becomes
/// `\0ooo`, which `printf %b` of every shell decodes. The number of lines is known to each reader, so no value
/// can be mistaken for an end, and a pipe that ends before is noticed. Nothing that is not ASCII ever passes
/// through a shell's `read`, where dash keeps bytes of its own (0x81 to 0x88).
public struct Envelope: Sendable {
  /// The bytes to write into the FIFO. They are secret.
  public let bytes: [UInt8]

  /// The most bytes that the work unit and the credentials may have together, names included. The kernel gives
  /// all arguments and variables of a program 2 MiB (a quarter of the usual 8 MiB stack); the rest is for the
  /// command's words and the image's own variables. A byte takes at most five in ``bytes``.
  public static let sizeLimit = 1 << 20

  /// The most bytes of `NAME=value` (execve(2): MAX_ARG_STRLEN, 32 pages, which counts the NUL).
  public static let variableLimit = 131_071

  /// Packs what a session is released with.
  ///
  /// - Parameters:
  ///   - repository: the URL to clone, without user info.
  ///   - workUnit: the work unit, if one was given.
  ///   - cloneToken: sent as the password of `x-access-token` to the host of an https repository; an empty
  ///     one means none.
  ///   - credentials: environment variables of the command, byte for byte.
  /// - Throws: what cannot be handed over, as a sentence without the value.
  public init(
    repository: String, workUnit: String?, cloneToken: [UInt8]?,
    credentials: [(name: String, value: [UInt8])]
  ) throws(EnvelopeError) {
    var bytes: [UInt8] = []
    var size = workUnit?.utf8.count ?? 0
    if repository.utf8.contains(0) { throw .holdsNUL("the repository") }
    Self.append(Array(repository.utf8), to: &bytes)

    if let workUnit {
      if workUnit.utf8.contains(0) { throw .holdsNUL("the work unit") }
      if "AGENTD_WORK_UNIT=".utf8.count + workUnit.utf8.count > Self.variableLimit {
        throw .tooLong("the work unit")
      }
    }
    Self.append(workUnit.map { Array($0.utf8) }, to: &bytes)

    let token = cloneToken.flatMap { $0.isEmpty ? nil : $0 }
    if let token { try Self.prove(cloneToken: token, for: repository) }
    Self.append(token, to: &bytes)

    bytes += Array("\(credentials.count)\n".utf8)
    for (name, value) in credentials {
      guard Self.isVariableName(name) else { throw .notAVariableName(name) }
      if value.contains(0) { throw .holdsNUL("the credential \(name)") }
      if name.utf8.count + 1 + value.count > Self.variableLimit { throw .tooLong("the credential \(name)") }
      size += name.utf8.count + value.count + 2
      bytes += Array("\(name) ".utf8)
      Self.encode(value, into: &bytes)
      bytes.append(UInt8(ascii: "\n"))
    }
    if size > Self.sizeLimit { throw .tooLarge }
    self.bytes = bytes
  }

  /// Makes sure that a clone token can be handed to git, in a session or on the host.
  ///
  /// - Throws: why not, as a sentence without the value.
  public static func prove(cloneToken token: [UInt8], for repository: String) throws(EnvelopeError) {
    if !repository.hasPrefix("https://") { throw .cloneTokenNeedsHTTPS }
    if token.contains(0) { throw .holdsNUL("the clone token") }
    if token.contains(UInt8(ascii: "\n")) || token.contains(UInt8(ascii: "\r")) {
      throw .cloneTokenHoldsLineBreak
    }
    if "AGENTD_CLONE_TOKEN=".utf8.count + token.count > Self.variableLimit {
      throw .tooLong("the clone token")
    }
  }

  private static func append(_ value: [UInt8]?, to bytes: inout [UInt8]) {
    bytes.append(UInt8(ascii: value == nil ? "-" : "+"))
    encode(value ?? [], into: &bytes)
    bytes.append(UInt8(ascii: "\n"))
  }

  private static func encode(_ value: [UInt8], into bytes: inout [UInt8]) {
    for byte in value {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."),
        UInt8(ascii: "/"), UInt8(ascii: ":"), UInt8(ascii: "@"), UInt8(ascii: "="), UInt8(ascii: "+"):
        bytes.append(byte)
      default:
        let zero = UInt8(ascii: "0")
        bytes += [UInt8(ascii: "\\"), zero, zero + byte >> 6, zero + (byte >> 3) & 7, zero + byte & 7]
      }
    }
  }

  private static func isVariableName(_ name: String) -> Bool {
    guard let first = name.utf8.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) else {
      return false
    }
    return name.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
        return true
      default: return false
      }
    } && !name.hasPrefix("AGENTD_")
  }
}

/// Why a session cannot be released with what it was given. No case holds a secret.
public enum EnvelopeError: Error, Equatable, Sendable, CustomStringConvertible {
  /// A value with a NUL byte, which no environment variable can hold.
  case holdsNUL(String)
  /// A value that is longer than Linux lets an environment variable be.
  case tooLong(String)
  /// All values together are larger than ``Envelope/sizeLimit``.
  case tooLarge
  /// A credential that no shell can export, or that has a name of agentd's own.
  case notAVariableName(String)
  /// A clone token for a repository that is not fetched by https.
  case cloneTokenNeedsHTTPS
  /// A clone token with a line break, which git's credential protocol cannot carry.
  case cloneTokenHoldsLineBreak

  /// One sentence for the operator.
  public var description: String {
    switch self {
    case .holdsNUL(let what): "\(what) holds a NUL byte: no environment variable can carry it"
    case .tooLong(let what): "\(what) is longer than the 128 KiB that Linux lets an environment variable be"
    case .tooLarge: "the credentials are larger together than the 1 MiB that a session may be given"
    case .notAVariableName(let name):
      "\(name) is not a name for a credential: use letters, digits and _, no digit first, no AGENTD_"
    case .cloneTokenNeedsHTTPS: "a clone token needs an https repository: it would be sent in the clear"
    case .cloneTokenHoldsLineBreak: "the clone token holds a line break: remove it from its source"
    }
  }
}
