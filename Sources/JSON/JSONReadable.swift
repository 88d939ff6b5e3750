// What can be read from JSON, and the words in which a type says where its parts are.

/// A value that reads itself.
public protocol JSONReadable {
  /// Reads one value.
  ///
  /// - Throws: `JSONMismatch` for what is not of its form.
  init(from json: JSONValue) throws(JSONMismatch)
}

/// JSON that is not of the form which was asked for.
public struct JSONMismatch: Error, Equatable {
  /// A mismatch.
  @inlinable public init() {}
}

extension JSONValue {
  /// Reads a member of an object. Members that nobody asks for are no matter.
  ///
  /// - Throws: `JSONMismatch` where it is not there, or is of another form.
  @inlinable
  public func read<Value: JSONReadable>(_ key: some CodingKey) throws(JSONMismatch) -> Value {
    guard let member = member(key.stringValue) else { throw JSONMismatch() }
    return try Value(from: member)
  }

  /// Reads a member of an object; nil where it is not there or null.
  ///
  /// - Throws: `JSONMismatch` where it is of another form.
  @inlinable
  public func readIfPresent<Value: JSONReadable>(_ key: some CodingKey) throws(JSONMismatch) -> Value? {
    guard let member = member(key.stringValue), !member.isNull else { return nil }
    return try Value(from: member)
  }

  /// The case of an enum, which is the one member that is called as a case is, and what it carries.
  ///
  /// - Throws: `JSONMismatch` where there is none, or more than one, or it is no object.
  @inlinable
  public func readCase<Key: CodingKey & CaseIterable>(
    of keys: Key.Type
  ) throws(JSONMismatch) -> (key: Key, content: JSONValue) {
    var found: (key: Key, content: JSONValue)?
    for key in keys.allCases {
      guard let content = member(key.stringValue) else { continue }
      guard found == nil, content.isObject else { throw JSONMismatch() }
      found = (key, content)
    }
    guard let found else { throw JSONMismatch() }
    return found
  }
}

// MARK: - Plain values

extension String: JSONReadable {
  /// Reads a string.
  @inlinable
  public init(from json: JSONValue) throws(JSONMismatch) {
    guard let text = json.string else { throw JSONMismatch() }
    self = text
  }
}

extension Bool: JSONReadable {
  /// Reads `true` or `false`.
  @inlinable
  public init(from json: JSONValue) throws(JSONMismatch) {
    guard let flag = json.bool else { throw JSONMismatch() }
    self = flag
  }
}

extension JSONReadable where Self: FixedWidthInteger {
  /// Reads a number that has room in the type.
  @inlinable
  public init(from json: JSONValue) throws(JSONMismatch) {
    let number =
      Self.isSigned ? json.int.flatMap(Self.init(exactly:)) : json.uint.flatMap(Self.init(exactly:))
    guard let number else { throw JSONMismatch() }
    self = number
  }
}

extension Int: JSONReadable {}
extension Int32: JSONReadable {}
extension UInt64: JSONReadable {}

extension Array: JSONReadable where Element: JSONReadable {
  /// Reads all elements of an array.
  @inlinable
  public init(from json: JSONValue) throws(JSONMismatch) {
    guard let elements = json.elements else { throw JSONMismatch() }
    self = []
    reserveCapacity(elements.count)
    for element in elements { append(try Element(from: element)) }
  }
}
