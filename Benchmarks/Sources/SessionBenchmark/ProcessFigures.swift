// What the kernel says of a process: memory, descriptors, threads, zombies and processor time.

import Glibc

/// The whole of a small file, or nothing.
func contents(of path: String) -> String {
  guard let file = fopen(path, "r") else { return "" }
  defer { fclose(file) }
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 1 << 16)
  while case let count = fread(&chunk, 1, chunk.count, file), count > 0 { bytes += chunk[..<count] }
  return String(decoding: bytes, as: UTF8.self)
}

/// Writes a file anew.
func write(_ text: String, to path: String) throws {
  guard let file = fopen(path, "w") else { throw Complaint("\(path) cannot be written") }
  defer { fclose(file) }
  guard fputs(text, file) >= 0 else { throw Complaint("\(path) cannot be written") }
}

/// The names in a folder, or none.
func names(in path: String) -> [String] {
  guard let directory = opendir(path) else { return [] }
  defer { closedir(directory) }
  var names: [String] = []
  while let entry = readdir(directory) {
    let name = withUnsafeBytes(of: &entry.pointee.d_name) {
      String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
    }
    if !name.hasPrefix(".") { names.append(name) }
  }
  return names
}

/// A process at one moment.
struct ProcessFigures: Codable, Sendable {
  /// Memory in use, in kB; of what is shared with other processes, all.
  var residentKilobytes = 0
  /// Memory in use, in kB; of what is shared with other processes, its share.
  var proportionalKilobytes = 0
  var descriptors = 0
  var threads = 0
  /// Children that have ended and were not reaped.
  var zombies = 0

  init(of pid: Int32) {
    residentKilobytes = Self.kilobytes("VmRSS:", in: contents(of: "/proc/\(pid)/status"))
    proportionalKilobytes = Self.proportionalKilobytes(of: pid)
    descriptors = names(in: "/proc/\(pid)/fd").count
    let tasks = names(in: "/proc/\(pid)/task")
    threads = tasks.count
    for task in tasks {
      for child in contents(of: "/proc/\(pid)/task/\(task)/children").split(separator: " ") {
        if contents(of: "/proc/\(child)/status").contains("State:\tZ") { zombies += 1 }
      }
    }
  }

  static func proportionalKilobytes(of pid: Int32) -> Int {
    kilobytes("Pss:", in: contents(of: "/proc/\(pid)/smaps_rollup"))
  }

  private static func kilobytes(_ name: String, in text: String) -> Int {
    let line = text.split(separator: "\n").first { $0.hasPrefix(name) }
    return line?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
  }
}

/// What all threads of a process have used of the processors, in nanoseconds.
func processorNanoseconds(of pid: Int32) -> Int64 {
  names(in: "/proc/\(pid)/task").reduce(0) { sum, task in
    // schedstat: nanoseconds on a processor, nanoseconds waiting for one, slices.
    sum
      + (contents(of: "/proc/\(pid)/task/\(task)/schedstat").split(separator: " ").first.flatMap { Int64($0) }
        ?? 0)
  }
}

/// The processes whose words hold one of these.
func processes(whoseWordsHold word: String) -> [Int32] {
  names(in: "/proc").compactMap { Int32($0) }.filter { contents(of: "/proc/\($0)/cmdline").contains(word) }
}

/// Of these variables of our own environment those that are set, as NAME=value.
func inherited(_ names: [String]) -> [String] {
  names.compactMap { name in getenv(name).map { name + "=" + String(cString: $0) } }
}
