// A registry that serves one image over HTTP on loopback, and holds it back until the test lets it go.

import Glibc
import Synchronization

/// The read side of the distribution protocol (opencontainers/distribution-spec), as far as `podman pull` needs it.
/// It serves for as long as the process lives.
final class Registry: Sendable {
  /// The image's reference. Podman knows it only after a pull.
  let reference: String
  private let layout: String
  private let listener: Int32
  /// A pipe that nobody writes to: its readers go on when its other end is closed.
  private let barrier: (read: Int32, write: Int32)
  private let manifests = Mutex(0)

  /// Serves a copy of the base image.
  init() throws {
    layout = "\(Ground.directory)/registry-\(try freePort())"
    try makeDirectory(layout)
    try Host.podman("push", "--quiet", "--format", "oci", try Host.image(), "dir:\(layout)/image")
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { throw Failure("pipe: errno \(errno)") }
    barrier = (ends[0], ends[1])

    listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    let port = try freePort()
    reference = "127.0.0.1:\(port)/agentd-e2e/base:test"
    var address = loopback(port: port)
    let result = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard result == 0, listen(listener, 64) == 0 else {
      throw Failure("the registry cannot listen: errno \(errno)")
    }
    // Plain HTTP, which podman speaks with a registry only when told so.
    try writeFile(
      "\(layout)/registries.conf", "[[registry]]\nlocation = \"127.0.0.1:\(port)\"\ninsecure = true\n")
    try onThread {
      while true {
        let connection = Glibc.accept(self.listener, nil, nil)
        guard connection >= 0 else { return }
        try? onThread { self.answer(connection) }
      }
    }
  }

  /// What the daemon's environment needs so that podman pulls from here.
  var environment: [String: String] { ["CONTAINERS_REGISTRIES_CONF": "\(layout)/registries.conf"] }

  /// How often the image was asked for.
  var pulls: Int { manifests.withLock { $0 } }

  /// Lets every answer go, those that wait and those to come.
  func open() { close(barrier.write) }

  // MARK: One request

  private func answer(_ connection: Int32) {
    defer { close(connection) }
    guard let request = readRequest(connection) else { return }
    let words = request.split(separator: " ")
    guard words.count > 1 else { return }
    let name = words[1].split(separator: "/").last.map(String.init) ?? ""
    if words[1].contains("/manifests/") {
      if words[0] == "GET" { manifests.withLock { $0 += 1 } }
      var byte: UInt8 = 0
      _ = read(barrier.read, &byte, 1)
      send(
        connection, readFile("\(layout)/image/manifest.json"),
        type: "application/vnd.oci.image.manifest.v1+json", isHead: words[0] == "HEAD")
    } else if words[1].contains("/blobs/"), name.hasPrefix("sha256:") {
      let file = "\(layout)/image/\(name.dropFirst("sha256:".count))"
      send(connection, readFile(file), type: "application/octet-stream", isHead: words[0] == "HEAD")
    } else {
      send(connection, Array("{}".utf8), type: "application/json", isHead: false)
    }
  }

  /// The head of a request; nil for a TLS handshake, which podman tries first.
  private func readRequest(_ connection: Int32) -> String? {
    var bytes: [UInt8] = []
    var byte: UInt8 = 0
    while !bytes.suffix(4).elementsEqual("\r\n\r\n".utf8) {
      guard bytes.count < 1 << 16, read(connection, &byte, 1) == 1 else { return nil }
      if bytes.isEmpty, byte == 0x16 { return nil }
      bytes.append(byte)
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  private func send(_ connection: Int32, _ content: [UInt8]?, type: String, isHead: Bool) {
    let status = content == nil ? "404 Not Found" : "200 OK"
    let head =
      "HTTP/1.1 \(status)\r\nContent-Type: \(type)\r\nContent-Length: \(content?.count ?? 0)\r\n"
      + "Connection: close\r\n\r\n"
    let bytes = Array(head.utf8) + (isHead ? [] : content ?? [])
    var sent = 0
    while sent < bytes.count {
      let count = bytes[sent...].withUnsafeBytes {
        Glibc.send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
      }
      guard count > 0 else { return }
      sent += count
    }
  }
}

/// Runs a function on a thread of its own.
private func onThread(_ body: @escaping @Sendable () -> Void) throws {
  final class Box: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }
  var thread = pthread_t()
  let box = Unmanaged.passRetained(Box(body))
  let result = pthread_create(
    &thread, nil,
    { argument in
      guard let argument else { return nil }
      Unmanaged<Box>.fromOpaque(argument).takeRetainedValue().body()
      return nil
    }, box.toOpaque())
  guard result == 0 else {
    box.release()
    throw Failure("pthread_create: errno \(result)")
  }
  pthread_detach(thread)
}
