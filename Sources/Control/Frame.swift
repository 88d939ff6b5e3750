// How a message goes over the socket: a line with the message and which build of agentd has written it.

internal import JSON

/// The frame around each message: who speaks, and which language.
struct Frame<Body: Message>: JSONReadable, JSONObject {
  let `protocol`: Int
  let build: String
  /// nil when it was read and this build does not know it.
  let body: Body?

  init(_ body: Body) {
    self.protocol = Build.protocolVersion
    self.build = Build.version
    self.body = body
  }

  /// Reads protocol and build, which every frame has, past and future, and the body where it is of this build: what
  /// another one says is not looked at.
  init(from json: JSONValue) throws(JSONMismatch) {
    self.protocol = try json.read(CodingKeys.protocol)
    self.build = try json.read(CodingKeys.build)
    let isOwn = Self.isOwn(self.protocol, build)
    body = isOwn ? try? json.read(CodingKeys.body) : nil
  }

  private enum CodingKeys: CodingKey { case `protocol`, build, body }

  /// In the order of their keys, as all of a message is.
  func writeFields(to json: inout JSONWriter) {
    json.field(CodingKeys.body, body)
    json.field(CodingKeys.build, build)
    json.field(CodingKeys.protocol, self.protocol)
  }

  /// Whether this build has written it.
  var isOwn: Bool { Self.isOwn(self.protocol, build) }

  private static func isOwn(_ number: Int, _ build: String) -> Bool {
    number == Build.protocolVersion && build == Build.version
  }
}

/// A line that is no message of this build. One sentence for the other side.
struct FrameError: Error {
  let sentence: String
  /// Whether the other side speaks, but another build's language.
  var isOtherBuild = false
}

/// What a frame can hold.
protocol Message: JSONReadable, JSONObject, Sendable, Equatable {
  /// Messages without content, each with its line, which is written once; from then on such a message is told by its
  /// bytes, which takes a fraction of the time.
  static var constants: [(message: Self, line: [UInt8])] { get }
}

extension Request: Message {
  static let constants = codedLines([Request.ping, .list])
  /// The line that asks it, newline included: for a client that reads and writes by itself.
  public var line: [UInt8] { encodeLine(self) }
}

extension Reply: Message {
  static let constants = codedLines([Reply.done])
}

private func codedLines<Body: Message>(_ messages: [Body]) -> [(message: Body, line: [UInt8])] {
  messages.map { ($0, Frame($0).jsonLine()) }
}

/// Encodes a message as one line, its newline included.
func encodeLine<Body: Message>(_ body: Body) -> [UInt8] {
  Body.constants.first { $0.message == body }?.line ?? Frame(body).jsonLine()
}

/// Decodes one line, without its newline.
func decodeLine<Body: Message>(_ line: [UInt8], as type: Body.Type, from peer: String) throws(FrameError)
  -> Body
{
  // The same bytes decode to the same message: what follows would only find that out more slowly.
  for (message, known) in Body.constants where known.count == line.count + 1 && known.starts(with: line) {
    return message
  }
  guard let json = JSONValue(parsing: line), let frame = try? Frame<Body>(from: json) else {
    throw FrameError(sentence: "The \(peer) sent something that is not a message of agentd.")
  }
  guard frame.isOwn else {
    // Cut by scalars: one character of Swift's may hold any number of them.
    let build = frame.build.unicodeScalars.prefix(40)
    let name = build.allSatisfy({ (" "..."~").contains($0) }) ? String(build) : "?"
    throw FrameError(
      sentence: "The \(peer) is another build of agentd (\(name), protocol \(frame.protocol); this one is "
        + "\(Build.version), protocol \(Build.protocolVersion)): restart the daemon after replacing the binary.",
      isOtherBuild: true)
  }
  guard let body = frame.body else {
    throw FrameError(sentence: "The \(peer) sent a message that this build of agentd does not know.")
  }
  return body
}
