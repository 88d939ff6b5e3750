// Programs that a test writes and something else runs.

import Glibc

/// Makes an executable file, or replaces it, by another process. What this one has open for writing each child has, too,
/// that is being started elsewhere at that moment, and the kernel runs no program that anybody has open so (ETXTBSY).
public func writeProgram(_ text: String, to path: String) throws {
  let script = "printf %s \"$1\" >\"$2\" && chmod 755 \"$2\""
  let arguments: [String] = ["/bin/sh", "-c", script, "sh", text, path]
  var words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
  words.append(nil)
  defer { for word in words { free(word) } }
  var child: pid_t = 0
  let result = posix_spawn(&child, "/bin/sh", nil, nil, &words, environ)
  guard result == 0 else { throw CallFailed("posix_spawn /bin/sh", result) }
  var status: Int32 = 0
  while waitpid(child, &status, 0) < 0 {
    guard errno == EINTR else { throw CallFailed("waitpid", errno) }
  }
  guard status == 0 else { throw CallFailed("write \(path): wait status \(status)", 0) }
}
