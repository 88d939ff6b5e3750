// JSON as it is read: a tree that is made once, and values that know where in it they are.

internal import CSupport

/// A value of a document that was read. It keeps the document.
public struct JSONValue {
  /// The tree, which goes with the last of its values.
  private final class Document {
    let raw: OpaquePointer
    init(_ raw: OpaquePointer) { self.raw = raw }
    deinit { agentd_json_discard(raw) }
  }

  private let document: Document
  private let raw: OpaquePointer

  /// Reads a document; nil for bytes that are not one JSON value in UTF-8. However deep it is nested, nothing recurses.
  public init?(parsing bytes: [UInt8]) {
    guard let raw = bytes.withUnsafeBufferPointer({ agentd_json_read($0.baseAddress, $0.count) }) else {
      return nil
    }
    document = Document(raw)
    self.raw = agentd_json_root(raw)
  }

  private init(_ document: Document, _ raw: OpaquePointer) {
    self.document = document
    self.raw = raw
  }

  /// Looks at what the document has here, which stays for as long as that takes.
  private func look<Answer>(_ body: (OpaquePointer) -> Answer) -> Answer {
    withExtendedLifetime(document) { body(raw) }
  }

  /// The member of an object that has this name, the first where there are several; nil where there is none, or it is no
  /// object.
  public func member(_ name: String) -> JSONValue? {
    var name = name
    let member = look { raw in name.withUTF8 { agentd_json_member(raw, $0.baseAddress, $0.count) } }
    return member.map { JSONValue(document, $0) }
  }

  /// The elements of an array; nil for what is none.
  public var elements: [JSONValue]? {
    let count = look(agentd_json_count)
    guard count >= 0 else { return nil }
    var elements: [JSONValue] = []
    elements.reserveCapacity(count)
    var next = look(agentd_json_first)
    for _ in 0..<count {
      guard let element = next else { preconditionFailure("an array has as many elements as it says") }
      elements.append(JSONValue(document, element))
      next = agentd_json_next(element)
    }
    return elements
  }

  /// Whether it is an object.
  public var isObject: Bool { look(agentd_json_is_object) }

  /// Whether it is `null`.
  public var isNull: Bool { look(agentd_json_is_null) }

  /// A string; nil for what is none.
  public var string: String? {
    look { raw in
      var text: UnsafePointer<UInt8>?
      var length = 0
      guard agentd_json_get_string(raw, &text, &length) else { return nil }
      return String(decoding: UnsafeBufferPointer(start: text, count: length), as: UTF8.self)
    }
  }

  /// A number that has room in 64 bits and is written as an integer; nil for anything else.
  public var int: Int64? {
    var number: Int64 = 0
    return look { agentd_json_get_int($0, &number) } ? number : nil
  }

  /// A number from 0 on that has room in 64 bits and is written as an integer; nil for anything else.
  public var uint: UInt64? {
    var number: UInt64 = 0
    return look { agentd_json_get_uint($0, &number) } ? number : nil
  }

  /// `true` or `false`; nil for anything else.
  public var bool: Bool? {
    var flag = false
    return look { agentd_json_get_bool($0, &flag) } ? flag : nil
  }
}
