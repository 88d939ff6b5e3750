// JSON as a value: a line of the daemon's log, session.json, the answer of `--json`.

import FoundationEssentials

enum JSON: Decodable, Equatable, Sendable {
  case null
  case boolean(Bool)
  case number(Double)
  case string(String)
  case array([JSON])
  case object([String: JSON])

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .null
    } else if let value = try? container.decode(Bool.self) {
      self = .boolean(value)
    } else if let value = try? container.decode(Double.self) {
      self = .number(value)
    } else if let value = try? container.decode(String.self) {
      self = .string(value)
    } else if let value = try? container.decode([JSON].self) {
      self = .array(value)
    } else {
      self = .object(try container.decode([String: JSON].self))
    }
  }

  /// Reads a text; throws what it held when it is not JSON.
  init(parsing bytes: [UInt8]) throws {
    do {
      self = try JSONDecoder().decode(JSON.self, from: Data(bytes))
    } catch {
      throw Failure("not JSON (\(error)): \(String(decoding: bytes, as: UTF8.self).prefix(2000))")
    }
  }

  init(parsing text: some StringProtocol) throws { try self.init(parsing: Array(text.utf8)) }

  /// A member of an object; nil for none and for null.
  subscript(key: String) -> JSON? {
    guard case .object(let members) = self, let member = members[key], member != .null else { return nil }
    return member
  }

  var string: String? {
    guard case .string(let value) = self else { return nil }
    return value
  }

  var integer: Int? {
    guard case .number(let value) = self else { return nil }
    return Int(exactly: value)
  }

  var elements: [JSON] {
    guard case .array(let values) = self else { return [] }
    return values
  }

  var keys: Set<String> {
    guard case .object(let members) = self else { return [] }
    return Set(members.keys)
  }
}
