// JSON as it is written: what a value says goes straight into a buffer, and there is no tree.

internal import CSupport
public import Time

/// Writes JSON into a buffer: each value where it belongs, an object as keys and values by turns. A value or a key that is
/// out of place ends debug builds.
public struct JSONWriter: ~Copyable {
  /// What the text looks like.
  public enum Form: Sendable {
    /// Without any space.
    case compact
    /// A line for each value, indented.
    case pretty
  }

  private let raw: OpaquePointer

  /// A writer with nothing in its buffer.
  public init(_ form: Form = .compact) { raw = agentd_json_open(form == .pretty) }

  deinit { agentd_json_close(raw) }

  /// Writes a key. Its value is what comes next.
  public mutating func key(_ name: String) {
    Self.withUTF8(of: name) { [raw] in agentd_json_key(raw, $0.baseAddress, $0.count) }
  }

  /// Writes a string.
  public mutating func value(_ text: String) {
    Self.withUTF8(of: text) { [raw] in agentd_json_string(raw, $0.baseAddress, $0.count) }
  }

  /// Lends out a string's bytes where they are: all strings of Swift's own have theirs in one piece.
  private static func withUTF8(of text: String, _ body: (UnsafeBufferPointer<UInt8>) -> Void) {
    if text.utf8.withContiguousStorageIfAvailable(body) != nil { return }
    var copy = text
    copy.withUTF8(body)
  }

  /// Writes a moment, as the string that it is read from.
  public mutating func value(_ moment: Timestamp) {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Timestamp.textLimit) { [raw] text in
      agentd_json_string(raw, text.baseAddress, moment.write(into: text))
    }
  }

  /// Writes a number.
  public mutating func value(_ number: Int64) { agentd_json_int(raw, number) }

  /// Writes a number.
  public mutating func value(_ number: UInt64) { agentd_json_uint(raw, number) }

  /// Writes `true` or `false`.
  public mutating func value(_ flag: Bool) { agentd_json_bool(raw, flag) }

  /// Writes `null`.
  public mutating func null() { agentd_json_null(raw) }

  /// Writes an object of the keys and values that `fields` writes.
  @inlinable
  public mutating func object(_ fields: (inout JSONWriter) -> Void) {
    beginObject()
    fields(&self)
    endObject()
  }

  /// Writes an array of the values that `elements` writes.
  @inlinable
  public mutating func array(_ elements: (inout JSONWriter) -> Void) {
    beginArray()
    elements(&self)
    endArray()
  }

  @usableFromInline mutating func beginObject() { agentd_json_begin_object(raw) }
  @usableFromInline mutating func endObject() { agentd_json_end_object(raw) }
  @usableFromInline mutating func beginArray() { agentd_json_begin_array(raw) }
  @usableFromInline mutating func endArray() { agentd_json_end_array(raw) }

  /// Puts a newline after what was written. Another value may follow.
  public mutating func endLine() { agentd_json_end_line(raw) }

  /// Puts a record separator before what comes next, as in a JSON text sequence (RFC 7464). It is nowhere in a value.
  public mutating func beginRecord() { agentd_json_begin_record(raw) }

  /// What was written.
  public consuming func bytes() -> [UInt8] { withBytes { [UInt8]($0) } }

  /// What was written, as text.
  public consuming func text() -> String { withBytes { String(decoding: $0, as: UTF8.self) } }

  private borrowing func withBytes<Result>(_ body: (UnsafeBufferPointer<UInt8>) -> Result) -> Result {
    var count = 0
    let start = agentd_json_bytes(raw, &count)
    return body(UnsafeBufferPointer(start: start, count: count))
  }
}
