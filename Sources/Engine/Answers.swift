// What podman prints, as values.

/// Which image a reference meant when it was inspected.
public struct ImageIdentity: Sendable, Equatable {
  /// 64 hex digits, the same in every listing of this host's store.
  public let id: String
  /// `sha256:…` of the manifest; nil for an image that podman knows no manifest digest of.
  public let digest: String?

  /// Reads the answer to ``Podman/inspectImage(_:)``; nil when it is not one.
  public init?(parsing output: String) {
    let words = output.split(whereSeparator: \.isWhitespace)
    guard let first = words.first, words.count <= 2 else { return nil }
    let id = first.hasPrefix("sha256:") ? first.dropFirst("sha256:".utf8.count) : first
    guard id.utf8.count == 64, id.utf8.allSatisfy(isHexDigit) else { return nil }
    self.id = String(id)
    digest = words.dropFirst().first.flatMap { $0.hasPrefix("sha256:") ? String($0) : nil }
  }
}

/// How a container stands, for kernels that cannot tell the exit status of someone else's child.
public struct ContainerExit: Sendable, Equatable {
  /// What podman calls its state.
  public let state: ContainerState
  /// The exit code; only ``state`` dead makes it one.
  public let code: Int32
  /// Whether the kernel ended it for want of memory.
  public let ranOutOfMemory: Bool
  /// RFC 3339, UTC; nil when it has not finished.
  public let finished: String?

  /// Reads the answer to ``Podman/containerExit(_:)``; nil when it is not one.
  public init?(parsing output: String) {
    let words = output.split(whereSeparator: \.isWhitespace)
    guard words.count == 4, let code = Int32(words[1]), let ranOutOfMemory = Bool(String(words[2])),
      words[3].count >= 2, words[3].hasPrefix("\""), words[3].hasSuffix("\"")
    else { return nil }
    state = ContainerState(words[0])
    self.code = code
    self.ranOutOfMemory = ranOutOfMemory
    let time = words[3].dropFirst().dropLast()
    // Go's zero time.
    finished = time.hasPrefix("0001-") ? nil : String(time)
  }
}

/// Whether a container may be removed as a leftover.
public enum ContainerState: Sendable, Equatable {
  /// No process of it runs, and without someone's help none ever will.
  case dead
  /// A process of it runs, or may.
  case live
  /// A word this code does not know. To be treated as live: what is not understood is not touched.
  case unknown(String)

  /// Reads podman's word for a state, or the phrase that begins with it: in 4.3 the `{{.State}}` of
  /// `podman ps` is "Exited (5) 2 seconds ago" and "Up 2 seconds", where later ones print "exited" and "running".
  public init(_ phrase: some StringProtocol) {
    let word = phrase.split(separator: " ").first.map { $0.lowercased() } ?? ""
    // libpod/define/containerstate.go, and the words of `podman ps` for it.
    switch word {
    case "configured", "created", "initialized", "stopped", "exited", "removing", "dead": self = .dead
    case "running", "up", "paused", "stopping", "restarting": self = .live
    default: self = .unknown(word)
    }
  }
}

/// One container of this daemon instance, as podman lists it.
public struct ListedContainer: Sendable, Equatable {
  /// Its name.
  public let name: ContainerName
  /// Its state.
  public let state: ContainerState

  /// Reads the answer to ``Podman/list(prefix:)``; what is not exactly named like ours for `daemon` is left out.
  public static func parse(_ output: String, daemon: String) -> [ListedContainer] {
    return output.split(whereSeparator: \.isNewline).compactMap { line in
      let fields = line.split(separator: "\t", maxSplits: 1, omittingEmptySubsequences: false)
      guard fields.count == 2, let name = ContainerName(fields[0]), name.daemon == daemon else { return nil }
      return ListedContainer(name: name, state: ContainerState(fields[1]))
    }
  }
}

/// Where podman keeps images and containers.
public struct Store: Sendable, Equatable {
  /// The storage driver, such as `overlay` or `vfs`.
  public let driver: String
  /// The absolute path of its root.
  public let root: String

  /// Reads the answer to ``Podman/store``; nil when it is not one.
  public init?(parsing output: String) {
    // The path may hold spaces; the driver is a word of its own line.
    let lines = output.split(separator: "\n", maxSplits: 1)
    guard lines.count == 2, lines[1].hasPrefix("/") else { return nil }
    driver = String(lines[0])
    root = String(lines[1].hasSuffix("\n") ? lines[1].dropLast() : lines[1])
  }
}

private func isHexDigit(_ byte: UInt8) -> Bool {
  switch byte {
  case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"): return true
  default: return false
  }
}
