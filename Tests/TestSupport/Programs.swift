// Programs that a test writes and something else runs.

import Glibc

/// What each of those programs is: the shell, which reads from a file beside it what to do. Written once, by another
/// process: what this one has open for writing each child has, too, that is being started elsewhere at that moment, and
/// the kernel runs no program that anybody has open so (ETXTBSY). A file that is only read has no such rule.
private let reader: Result<Scratch, CallFailed> = {
  let scratch = Scratch()
  atexit { if case .success(let scratch) = reader { scratch.remove() } }
  let path = readerPath(in: scratch)
  let script = "printf '#!/bin/sh\\n. \"$0.text\"\\n' >\"$1\" && chmod 755 \"$1\" \"${1%/*}\""
  let arguments: [String] = ["/bin/sh", "-c", script, "sh", path]
  var words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
  words.append(nil)
  defer { for word in words { free(word) } }
  var child: pid_t = 0
  let result = posix_spawn(&child, "/bin/sh", nil, nil, &words, environ)
  guard result == 0 else { return .failure(CallFailed("posix_spawn /bin/sh", result)) }
  var status: Int32 = 0
  while waitpid(child, &status, 0) < 0 {
    guard errno == EINTR else { return .failure(CallFailed("waitpid", errno)) }
  }
  guard status == 0 else { return .failure(CallFailed("write \(path): wait status \(status)", 0)) }
  return .success(scratch)
}()

private func readerPath(in scratch: Scratch) -> String { "\(scratch.path)/program" }

/// Makes an executable file that does what a text for /bin/sh says, or gives it another text. The text is in a file of
/// the same name with `.text` behind it. No process is waited for: hundreds of tests begin in one turn of the loop.
public func writeProgram(_ text: String, to path: String) throws {
  try write(text, to: "\(path).text", mode: 0o644)
  guard symlink(readerPath(in: try reader.get()), path) == 0 || errno == EEXIST else {
    throw CallFailed("symlink \(path)", errno)
  }
}
