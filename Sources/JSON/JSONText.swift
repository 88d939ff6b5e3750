// Values as JSON on one line, written straight into bytes.

/// Writes `Encodable` values as JSON (RFC 8259), keys in the order in which a value encodes them.
///
/// Foundation's encoder makes a tree of objects first and then text of it: of a session's processor time that was a
/// quarter. Numbers are integers, as everything that agentd writes is.
public struct JSONText {
  /// What was written.
  public private(set) var bytes: [UInt8] = []

  /// Nothing yet.
  public init() { bytes.reserveCapacity(512) }

  /// The text of a value, without a newline.
  ///
  /// - Throws: what the value's own `encode` throws, and `EncodingError` for a number that is no integer.
  public static func encode(_ value: some Encodable) throws -> [UInt8] {
    let writer = Writer()
    try writer.write(value)
    return writer.text.bytes
  }

  /// Appends a string in its quotes.
  public mutating func append(_ string: String) {
    bytes.append(UInt8(ascii: "\""))
    var string = string
    string.withUTF8 { units in
      var start = 0
      for (index, unit) in units.enumerated() where unit < 0x20 || unit == 0x22 || unit == 0x5c {
        bytes.append(contentsOf: units[start..<index])
        appendEscaped(unit)
        start = index + 1
      }
      bytes.append(contentsOf: units[start...])
    }
    bytes.append(UInt8(ascii: "\""))
  }

  private mutating func appendEscaped(_ unit: UInt8) {
    bytes.append(UInt8(ascii: "\\"))
    switch unit {
    case 0x22, 0x5c: bytes.append(unit)
    case 0x08: bytes.append(UInt8(ascii: "b"))
    case 0x09: bytes.append(UInt8(ascii: "t"))
    case 0x0a: bytes.append(UInt8(ascii: "n"))
    case 0x0c: bytes.append(UInt8(ascii: "f"))
    case 0x0d: bytes.append(UInt8(ascii: "r"))
    default:
      let digits = Array("0123456789abcdef".utf8)
      bytes += [UInt8(ascii: "u"), UInt8(ascii: "0"), UInt8(ascii: "0")]
      bytes += [digits[Int(unit >> 4)], digits[Int(unit & 15)]]
    }
  }

  /// Appends an integer.
  public mutating func append(_ number: some BinaryInteger) {
    var digits = number.description
    digits.withUTF8 { bytes.append(contentsOf: $0) }
  }

  /// Appends true or false.
  public mutating func append(_ flag: Bool) { bytes.append(contentsOf: (flag ? "true" : "false").utf8) }

  /// Appends null.
  public mutating func appendNull() { bytes.append(contentsOf: "null".utf8) }

  /// Appends one of `{ } [ ] : ,`.
  public mutating func append(mark: Unicode.Scalar) { bytes.append(UInt8(ascii: mark)) }

  /// Appends the comma before a member or element, unless it is the first.
  public mutating func separate() {
    guard let last = bytes.last, last != UInt8(ascii: "{"), last != UInt8(ascii: "[") else { return }
    append(mark: ",")
  }
}

/// The text of one value, and what is open in it.
private final class Writer {
  var text = JSONText()
  /// What closes the containers that are open, outermost first.
  private var closers: [Unicode.Scalar] = []

  var depth: Int { closers.count }

  func write(_ value: some Encodable) throws {
    switch value {
    case let string as String: text.append(string)
    case let flag as Bool: text.append(flag)
    case let number as any BinaryInteger: text.append(number)
    default:
      let (depth, length) = (depth, text.bytes.count)
      try value.encode(to: ValueEncoder(writer: self))
      // One that encodes nothing is an empty object, as Foundation has it.
      if text.bytes.count == length { open("{", "}") }
      close(to: depth)
    }
  }

  func open(_ mark: Unicode.Scalar, _ closer: Unicode.Scalar) {
    text.append(mark: mark)
    closers.append(closer)
  }

  /// Closes what was opened inside of the container at a depth.
  func close(to depth: Int) {
    while closers.count > depth, let closer = closers.popLast() { text.append(mark: closer) }
  }

  func begin(_ key: String, at depth: Int) {
    close(to: depth)
    text.separate()
    text.append(key)
    text.append(mark: ":")
  }

  func beginElement(at depth: Int) {
    close(to: depth)
    text.separate()
  }

  func refuse(_ number: some BinaryFloatingPoint) -> EncodingError {
    EncodingError.invalidValue(number, .init(codingPath: [], debugDescription: "it is no integer"))
  }
}

private struct ValueEncoder: Encoder {
  let writer: Writer
  var codingPath: [any CodingKey] { [] }
  var userInfo: [CodingUserInfoKey: Any] { [:] }

  func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
    writer.open("{", "}")
    return KeyedEncodingContainer(Members(writer: writer, depth: writer.depth))
  }

  func unkeyedContainer() -> any UnkeyedEncodingContainer {
    writer.open("[", "]")
    return Elements(writer: writer, depth: writer.depth)
  }

  func singleValueContainer() -> any SingleValueEncodingContainer { Single(writer: writer) }
}

private struct Members<Key: CodingKey>: KeyedEncodingContainerProtocol {
  let writer: Writer
  let depth: Int
  var codingPath: [any CodingKey] { [] }

  func encodeNil(forKey key: Key) {
    writer.begin(key.stringValue, at: depth)
    writer.text.appendNull()
  }

  func encode(_ value: String, forKey key: Key) {
    writer.begin(key.stringValue, at: depth)
    writer.text.append(value)
  }

  func encode(_ value: some Encodable, forKey key: Key) throws {
    writer.begin(key.stringValue, at: depth)
    try writer.write(value)
  }

  func encode(_ value: Double, forKey key: Key) throws { throw writer.refuse(value) }
  func encode(_ value: Float, forKey key: Key) throws { throw writer.refuse(value) }

  func nestedContainer<Nested: CodingKey>(
    keyedBy type: Nested.Type, forKey key: Key
  ) -> KeyedEncodingContainer<Nested> {
    writer.begin(key.stringValue, at: depth)
    return ValueEncoder(writer: writer).container(keyedBy: type)
  }

  func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer {
    writer.begin(key.stringValue, at: depth)
    return ValueEncoder(writer: writer).unkeyedContainer()
  }

  func superEncoder() -> any Encoder {
    writer.begin("super", at: depth)
    return ValueEncoder(writer: writer)
  }

  func superEncoder(forKey key: Key) -> any Encoder {
    writer.begin(key.stringValue, at: depth)
    return ValueEncoder(writer: writer)
  }
}

private struct Elements: UnkeyedEncodingContainer {
  let writer: Writer
  let depth: Int
  var codingPath: [any CodingKey] { [] }
  private(set) var count = 0

  init(writer: Writer, depth: Int) {
    self.writer = writer
    self.depth = depth
  }

  mutating func encodeNil() {
    begin()
    writer.text.appendNull()
  }

  mutating func encode(_ value: some Encodable) throws {
    begin()
    try writer.write(value)
  }

  mutating func encode(_ value: Double) throws { throw writer.refuse(value) }
  mutating func encode(_ value: Float) throws { throw writer.refuse(value) }

  mutating func nestedContainer<Nested: CodingKey>(
    keyedBy type: Nested.Type
  ) -> KeyedEncodingContainer<Nested> {
    begin()
    return ValueEncoder(writer: writer).container(keyedBy: type)
  }

  mutating func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer {
    begin()
    return ValueEncoder(writer: writer).unkeyedContainer()
  }

  mutating func superEncoder() -> any Encoder {
    begin()
    return ValueEncoder(writer: writer)
  }

  private mutating func begin() {
    writer.beginElement(at: depth)
    count += 1
  }
}

private struct Single: SingleValueEncodingContainer {
  let writer: Writer
  var codingPath: [any CodingKey] { [] }

  func encodeNil() { writer.text.appendNull() }
  func encode(_ value: some Encodable) throws { try writer.write(value) }
  func encode(_ value: Double) throws { throw writer.refuse(value) }
  func encode(_ value: Float) throws { throw writer.refuse(value) }
}
