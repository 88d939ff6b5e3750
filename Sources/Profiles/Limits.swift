// How large anything in a configuration may be: each limit with its unit and its reason.

/// The bounds on everything in a configuration that can grow. Sizes are in bytes of UTF-8.
enum Limits {
  /// A file larger than this is not a configuration; reading stops here.
  static let fileBytes = 1 << 20
  /// Profiles in one file; more do not fit into a file of useful profiles anyway.
  static let profiles = 10_000
  /// A profile's name is a user name in the container, and useradd takes at most this much.
  static let nameBytes = 32
  /// An image reference: 255 for the name, 128 for the tag, a digest, and as much again for a transport.
  static let imageBytes = 1024
  /// Words of a command, the program among them; a script belongs into one of them.
  static let commandWords = 1024
  /// One word of a command: the kernel's MAX_ARG_STRLEN of 32 pages, less the NUL at its end (execve(2)).
  static let commandWordBytes = 131_071
  /// A path: the kernel's PATH_MAX, less the NUL at its end.
  static let pathBytes = 4095
  /// The path of a Unix socket: the 108 bytes of sun_path, less the NUL at its end (unix(7)).
  static let socketPathBytes = 107
  /// Mounts of one profile; each is a pair of words on podman's command line.
  static let mounts = 256
  /// Credentials of one profile; each becomes a variable in the command's environment.
  static let credentials = 256
  /// Sessions at once that may be asked for: each takes some kilobytes of the daemon, and two descriptors where the
  /// kernel cannot keep them in io_uring's own table; a hard limit of 20,000 would be reached there.
  static let sessions = 10_000
  /// Sessions in the queue that may be asked for: each has a record.
  static let queuedSessions = 10_000
  /// podman processes at once that may be asked for.
  static let podmanProcesses = 256
  /// The name of an environment variable.
  static let variableNameBytes = 256
  /// How much of a value an error message repeats, in characters.
  static let quotedCharacters = 80
  /// How much of the TOML library's own words an error message repeats, in characters.
  static let syntaxErrorCharacters = 400
}
