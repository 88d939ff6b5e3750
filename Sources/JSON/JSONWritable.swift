// What has a JSON form, and the words in which a type says its own.

public import Time

/// A value that writes itself.
public protocol JSONWritable {
  /// Writes one value.
  func write(to json: inout JSONWriter)
}

/// A value that is an object in JSON.
public protocol JSONObject: JSONWritable {
  /// Writes keys and values, but not the object around them: several parts may share one.
  func writeFields(to json: inout JSONWriter)
}

extension JSONObject {
  /// Writes the fields as one object.
  @inlinable
  public func write(to json: inout JSONWriter) { json.object { writeFields(to: &$0) } }
}

extension JSONWriter {
  /// Writes a field of an object.
  @inlinable
  public mutating func field(_ key: some CodingKey, _ value: some JSONWritable) {
    self.key(key.stringValue)
    value.write(to: &self)
  }

  /// Writes a field of an object, or nothing where there is no value: this is how a decoder's `decodeIfPresent` has it.
  @inlinable
  public mutating func field(_ key: some CodingKey, _ value: (some JSONWritable)?) {
    if let value { field(key, value) }
  }

  /// Writes a field of an object, as null where there is no value.
  @inlinable
  public mutating func field(_ key: some CodingKey, orNull value: (some JSONWritable)?) {
    self.key(key.stringValue)
    if let value { value.write(to: &self) } else { null() }
  }

  /// Writes a field of an object that is an object itself. It is how a decoder has the case of an enum.
  @inlinable
  public mutating func field(_ key: some CodingKey, _ fields: (inout JSONWriter) -> Void) {
    self.key(key.stringValue)
    object(fields)
  }
}

extension JSONWritable {
  /// The value as JSON with a newline at its end.
  @inlinable
  public func jsonLine(_ form: JSONWriter.Form = .compact) -> [UInt8] {
    var json = JSONWriter(form)
    write(to: &json)
    json.endLine()
    return json.bytes()
  }
}

// MARK: - Plain values

extension String: JSONWritable {
  /// Writes a string.
  @inlinable
  public func write(to json: inout JSONWriter) { json.value(self) }
}

extension Timestamp: JSONWritable {
  /// Writes a moment in RFC 3339.
  @inlinable
  public func write(to json: inout JSONWriter) { json.value(self) }
}

extension Bool: JSONWritable {
  /// Writes `true` or `false`.
  @inlinable
  public func write(to json: inout JSONWriter) { json.value(self) }
}

extension JSONWritable where Self: BinaryInteger {
  /// Writes a number.
  @inlinable
  public func write(to json: inout JSONWriter) {
    if Self.isSigned { json.value(Int64(self)) } else { json.value(UInt64(self)) }
  }
}

extension Int: JSONWritable {}
extension Int32: JSONWritable {}
extension Int64: JSONWritable {}
extension UInt64: JSONWritable {}

extension JSONWritable where Self: RawRepresentable, RawValue: JSONWritable {
  /// Writes what it stands for.
  @inlinable
  public func write(to json: inout JSONWriter) { rawValue.write(to: &json) }
}

extension Array: JSONWritable where Element: JSONWritable {
  /// Writes the elements as an array.
  @inlinable
  public func write(to json: inout JSONWriter) {
    json.array { for element in self { element.write(to: &$0) } }
  }
}

extension Dictionary: JSONWritable where Key == String, Value: JSONWritable {
  /// Writes an object in the order of its keys, so that one value has one text.
  @inlinable
  public func write(to json: inout JSONWriter) {
    json.object {
      for (key, value) in sorted(by: { $0.key < $1.key }) {
        $0.key(key)
        value.write(to: &$0)
      }
    }
  }
}
