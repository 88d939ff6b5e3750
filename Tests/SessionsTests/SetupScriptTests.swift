// The setup's scripts, run on this host by each shell that an image may call /bin/sh.

import Testing

@testable import Sessions

/// Every byte an environment variable can hold, and what shells stumble over.
private let everyByte: [UInt8] =
  Array(1...255) + Array("'\"\n\\$x`%b\\c\\0101 \u{81}\n\n".utf8) + [0x81, 0x88, 0x0a]

@Suite("the command's script")
struct CommandScriptTests {
  private func run(
    _ shell: Shell, _ command: [String], credentials: [(name: String, value: [UInt8])] = [],
    cutTo length: Int? = nil, environment: [String] = ["PATH=/usr/bin:/bin"]
  ) throws -> Shell.Ended {
    let home = try Home()
    home.make("repo")
    let envelope = try Envelope(
      repository: "git://h/r", workUnit: nil, cloneToken: nil, credentials: credentials)
    let firstPart = Array("+git://h/r\n-\n-\n".utf8)
    var bytes = Array(envelope.bytes.dropFirst(firstPart.count))
    if let length { bytes = Array(bytes.prefix(length)) }
    return try shell.run(
      SetupScript.commandText, ["agentd", home.profile] + command, input: bytes, environment: environment)
  }

  @Test("credentials arrive byte for byte", arguments: Shell.allCases, ["C", "C.UTF-8"])
  func exact(shell: Shell, locale: String) throws {
    let large = [UInt8](repeating: 0xff, count: Envelope.variableLimit - "LARGE=".utf8.count)
    let ended = try run(
      shell, ["/bin/cat", "/proc/self/environ"],
      credentials: [("ALL", everyByte), ("LARGE", large), ("EMPTY", []), ("NEWLINES", [10, 10])],
      environment: ["PATH=/usr/bin:/bin", "LC_ALL=\(locale)"])
    #expect(ended.code == 0, "\(ended.errors)")
    #expect(ended.environment["ALL"] == everyByte)
    #expect(ended.environment["LARGE"] == large)
    #expect(ended.environment["EMPTY"] == [])
    #expect(ended.environment["NEWLINES"] == [10, 10])
  }

  @Test("names that steer shells and loaders are handed over like any other", arguments: Shell.allCases)
  func steering(shell: Shell) throws {
    let names = [
      "PATH", "LD_PRELOAD", "IFS", "ENV", "HOME", "USER", "PWD", "OLDPWD", "PS4", "CDPATH", "LC_ALL", "LANG",
      "TMOUT", "POSIXLY_CORRECT", "BASH_ENV", "MAIL", "n", "i", "value", "fail", "PROFILE_NAME_2",
    ]
    let ended = try run(
      shell, ["/bin/cat", "/proc/self/environ"],
      credentials: names.map { ($0, Array("/x \($0) é".utf8)) })
    #expect(ended.code == 0, "\(ended.errors)")
    for name in names { #expect(ended.environment[name] == Array("/x \(name) é".utf8), "\(name)") }
  }

  @Test(
    "a name that the shell keeps for itself arrives exactly or is refused by name, never by value",
    arguments: Shell.allCases)
  func reserved(shell: Shell) throws {
    let names = [
      "UID", "EUID", "PPID", "OPTIND", "OPTERR", "SHLVL", "_", "RANDOM", "SRANDOM", "SECONDS", "LINENO",
      "GROUPS",
      "DIRSTACK", "FUNCNAME", "FUNCNEST", "HISTCMD", "EPOCHSECONDS", "BASHPID", "BASH_ARGV0", "BASH_COMPAT",
      "BASH_SUBSHELL", "BASH_VERSINFO", "BASHOPTS", "SHELLOPTS", "BASH_XTRACEFD", "COMP_WORDBREAKS",
      "LC_CTYPE", "TERM", "SHELL", "HOSTNAME", "COLUMNS", "HISTSIZE", "IGNOREEOF",
    ]
    for name in names {
      for value in ["s3cret", "5"] {
        let ended = try run(
          shell, ["/bin/cat", "/proc/self/environ"], credentials: [(name, Array(value.utf8))])
        if ended.code == 0 {
          #expect(ended.environment[name] == Array(value.utf8), "\(name)")
        } else {
          #expect(ended.code == SetupScript.failureCode, "\(name): \(ended.errors)")
          #expect(ended.errors.contains("agentd: the credential \(name) cannot be set"), "\(ended.errors)")
        }
        #expect(!ended.errors.contains("s3cret"), "\(name): \(ended.errors)")
      }
    }
  }

  @Test("nothing of ours stays in the environment, whatever the image brought", arguments: Shell.allCases)
  func clean(shell: Shell) throws {
    let ours = ["COUNT", "WORDS", "NAME", "LINE", "VALUE", "EARLY"].map { "AGENTD_\($0)=image" }
    let ended = try run(
      shell, ["/bin/cat", "/proc/self/environ"], credentials: [("A", [0x62])],
      environment: ["PATH=/usr/bin:/bin"] + ours)
    let shells: Set = ["PATH", "HOME", "PWD", "SHLVL", "_", "A"]
    #expect(Set(ended.environment.keys).isSubset(of: shells), "\(ended.environment.keys)")
    #expect(ended.environment["PWD"]?.suffix(5) == Array("/repo".utf8)[...])
  }

  @Test("the command takes the shell's place, without our descriptor", arguments: Shell.allCases)
  func replaced(shell: Shell) throws {
    let ended = try run(
      shell, ["/bin/sh", "-c", "[ -e /proc/self/fd/3 ] && echo open; tr '\\0' ' ' </proc/$$/cmdline"])
    #expect(String(decoding: ended.output, as: UTF8.self).hasPrefix("/bin/sh -c "), "\(ended)")
  }

  @Test(
    "exit codes are the command's",
    arguments: Shell.allCases,
    [
      (["sh", "-c", "exit 3"], 3), (["sh", "-c", "exit 137"], 137), (["sh", "-c", "kill -9 $$"], -9),
      (["/nonexistent"], 127), (["nonexistent-command"], 127), (["/etc/passwd"], 126), (["/tmp"], 126),
    ] as [([String], Int32)])
  func codes(shell: Shell, ending: (command: [String], code: Int32)) throws {
    #expect(try run(shell, ending.command).code == ending.code)
  }

  @Test("the command is found by a credential called PATH", arguments: Shell.allCases)
  func path(shell: Shell) throws {
    // Not a program that BusyBox has inside: it would not look for it.
    let command = ["git", "--version"]
    #expect(try run(shell, command, credentials: [("PATH", Array("/nowhere".utf8))]).code == 127)
    #expect(
      try run(
        shell, command, credentials: [("PATH", Array("/usr/bin:/bin".utf8))], environment: ["PATH=/nowhere"]
      ).code == 0)
  }

  @Test("an envelope that ends early is a failure, wherever it ends", arguments: Shell.allCases)
  func truncated(shell: Shell) throws {
    let whole = "2\nA s3cret\nB s3cret\n".utf8.count
    for length in 0..<whole {
      let ended = try run(
        shell, ["true"], credentials: [("A", Array("s3cret".utf8)), ("B", Array("s3cret".utf8))],
        cutTo: length)
      #expect(ended.code == SetupScript.failureCode, "\(length)")
      #expect(ended.errors.hasPrefix("agentd: the envelope ended early"), "\(ended.errors)")
      #expect(!ended.errors.contains("s3cret"))
    }
  }
}

@Suite("the privileged script's reading")
struct ReadScriptTests {
  private let head =
    "report() { echo \"reported $1\"; }; fail() { printf 'agentd: %s\\n' \"$1\" >&2; exit 6; }\n"

  @Test("the first part arrives byte for byte, and the second is left in the pipe", arguments: Shell.allCases)
  func parts(shell: Shell) throws {
    let unit = "unit 'ü' \"\n$x\\c\n"
    let token = Array(everyByte.filter { $0 != 10 && $0 != 13 })
    let envelope = try Envelope(
      repository: "https://h/r", workUnit: unit, cloneToken: token, credentials: [("A", [0x61])])
    let ended = try shell.run(
      head + SetupScript.readText + "\n"
        + "printf '%s\\0%s\\0' \"$AGENTD_REPOSITORY\" \"$AGENTD_CLONE_TOKEN\"; /bin/cat <&3; printf '\\0'; exec /bin/cat /proc/self/environ",
      ["agentd"], input: envelope.bytes)
    let fields = ended.output.split(separator: 0, maxSplits: 2, omittingEmptySubsequences: false)
    try #require(fields.count == 3)
    #expect(Array(fields[0]) == Array("https://h/r".utf8))
    #expect(Array(fields[1]) == token)
    #expect(fields[2].starts(with: Array("1\nA a\n".utf8)))
    #expect(ended.environment["AGENTD_WORK_UNIT"] == Array(unit.utf8))
    #expect(ended.environment.keys.filter { $0.hasPrefix("AGENTD_") } == ["AGENTD_WORK_UNIT"])
  }

  @Test("a first part that ends early is a failure", arguments: Shell.allCases)
  func truncated(shell: Shell) throws {
    let whole = Array("+git://h/r\n-\n-\n".utf8)
    for length in 0..<whole.count {
      let ended = try shell.run(head + SetupScript.readText, ["agentd"], input: Array(whole.prefix(length)))
      #expect(ended.code == SetupScript.failureCode, "\(length)")
      #expect(ended.output == Array("reported unreleased\n".utf8))
      #expect(ended.errors.hasPrefix("agentd: the envelope ended early"))
    }
  }

  @Test("without its mounts the script says so", arguments: Shell.allCases)
  func unmounted(shell: Shell) throws {
    let ended = try shell.run(
      SetupScript.text,
      SetupScript.arguments(profile: "worker", pruned: ["/home/worker/x"], command: ["true"]))
    #expect(ended.code == SetupScript.failureCode)
    #expect(ended.errors == "agentd: /agentd/envelope is not mounted\n")
  }

  @Test("the words are the scripts, the counted paths and the command")
  func words() {
    #expect(
      SetupScript.arguments(profile: "p", pruned: ["/home/p/a"], command: ["c", "d"]) == [
        "agentd", "p", SetupScript.cloneText, SetupScript.commandText, "", "1", "/home/p/a", "c", "d",
      ])
    #expect(
      SetupScript.arguments(profile: "p", isMirrored: true, pruned: [], command: ["c"]) == [
        "agentd", "p", SetupScript.cloneText, SetupScript.commandText, "/agentd/mirror", "0", "c",
      ])
  }
}

@Suite("the clone's script")
struct CloneScriptTests {
  /// Stands for git: notes how it was called, clones what `MAKE` says, and asks the real git for a credential.
  private static let git = """
    #!/bin/sh
    printf '%s\\n' "$@" >>"$LOG.words"
    case "$*" in
    *rev-parse*) echo 0123456789012345678901234567890123456789 ;;
    *)
      set -- "$@" end
      while [ "$1" = -c ]; do set -- "$@" -c "$2"; shift 2; done
      while [ "$1" != end ]; do shift; done
      shift
      for url in $ASK; do
        printf 'url=%s\\n\\n' "$url" | /usr/bin/git "$@" credential fill
      done >"$LOG.credentials" 2>&1
      mkdir -p repo/.git
      eval "$MAKE"
      ;;
    esac
    """

  private func run(_ shell: Shell, _ home: Home, _ repository: String, make: String = ":", token: String = "")
    throws -> Shell.Ended
  {
    home.make("bin")
    try home.write(program: "bin/git", Self.git)
    return try shell.run(
      SetupScript.cloneText, ["agentd", home.profile, repository],
      environment: [
        "PATH=\(home.path)/bin:/usr/bin:/bin", "LOG=\(home.path)/log", "MAKE=\(make)",
        "ASK=https://h.example:8443/r https://other.example/r", "AGENTD_CLONE_TOKEN=\(token)", "GIT_TRACE=1",
        "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=credential.helper",
        "GIT_CONFIG_VALUE_0=!echo username=image; echo password=image; :",
      ])
  }

  @Test("the token answers for the URL's host alone, and is in no word", arguments: Shell.allCases)
  func token(shell: Shell) throws {
    let home = try Home()
    let token = "t0k'en \"$x\\"
    let ended = try run(shell, home, "https://h.example:8443/r", token: token)
    #expect(ended.code == 0, "\(ended.errors)")
    #expect(ended.output == Array("0123456789012345678901234567890123456789\n".utf8))
    let words = try #require(home.read("log.words"))
    #expect(words.contains("\nclone\n--\nhttps://h.example:8443/r\nrepo\n"))
    #expect(!words.contains("t0k"))
    let answers = try #require(home.read("log.credentials"))
    #expect(
      answers.contains("host=h.example:8443\nusername=x-access-token\npassword=\(token)\n"), "\(answers)")
    #expect(answers.contains("could not read Username for 'https://other.example'"), "\(answers)")
    #expect(!answers.contains("password=image"))
  }

  @Test("the link is made and ignored", arguments: Shell.allCases)
  func link(shell: Shell) throws {
    let home = try Home()
    let ended = try run(shell, home, "git://h/r")
    #expect(ended.code == 0, "\(ended.errors)")
    #expect(home.read("repo/.git/info/exclude") == "/.runa\n")
    let link = try shell.run("readlink \"$0\"", ["\(home.path)/repo/.runa"])
    #expect(String(decoding: link.output, as: UTF8.self) == "/home/\(home.profile)/.agentd/runa\n")
  }

  @Test(
    "a repository that has .runa is refused", arguments: Shell.allCases,
    ["mkdir repo/.runa", ">repo/.runa", "ln -s /nowhere repo/.runa"])
  func runa(shell: Shell, make: String) throws {
    let home = try Home()
    let ended = try run(shell, home, "git://h/r", make: make)
    #expect(ended.code == SetupScript.failureCode)
    #expect(ended.errors.contains("agentd: the repository already has .runa"))
  }

  @Test("a clone that fails is a failure of the setup", arguments: Shell.allCases)
  func failed(shell: Shell) throws {
    let ended = try run(shell, try Home(), "git://h/r", make: "echo reason >&2; exit 128")
    #expect(ended.code == SetupScript.failureCode)
    #expect(ended.errors == "reason\nagentd: could not clone git://h/r (git's own words are above)\n")
  }

  @Test("a token is not sent in the clear", arguments: Shell.allCases)
  func clear(shell: Shell) throws {
    let home = try Home()
    #expect(try run(shell, home, "http://h/r", token: "t0k").code == SetupScript.failureCode)
    #expect(home.read("log.words") == nil)
  }
}

@Suite("the clone of a mirror")
struct MirrorCloneTests {
  /// Makes a remote, what the daemon would fetch from it, and a git that finds the remote under this URL.
  private static let url = "git://test/remote.git"
  private static let prepare = """
    git init -q -b main work && cd work && echo one >file && git add file && git commit -qm one &&
    git branch side/way && git tag -a -m v1 v1 && git tag light && head -c 100000 /dev/urandom >blob &&
    git add blob && git commit -qm two && cd .. && git clone -q --bare work remote.git && cd remote.git && eval "$MAKE" &&
    cd .. && git -c protocol.file.allow=always clone -q --bare file://$PWD/remote.git mirror
    """
  private static let environment = [
    "PATH=/usr/local/bin:/usr/bin:/bin", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
    "HOME=/nonexistent",
    "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b",
    "GIT_AUTHOR_DATE=2026-11-23T00:00:00Z", "GIT_COMMITTER_DATE=2026-11-23T00:00:00Z",
  ]

  private func prepare(_ shell: Shell, _ home: Home, make: String) throws {
    let ended = try shell.run(
      "cd \"$0\" && \(Self.prepare)", [home.path], environment: Self.environment + ["MAKE=\(make)"])
    try #require(ended.code == 0, "\(ended.errors)")
    home.make("bin")
    // The remote is not reached by its URL here, but by a path. What is cloned from the copy has its own words for that.
    try home.write(
      program: "bin/git",
      """
      #!/bin/sh
      case "$*" in
      *insteadOf=*) exec /usr/bin/git "$@" ;;
      *" clone "*) GIT_ALLOW_PROTOCOL=file exec /usr/bin/git -c url.file://\(home.path)/.insteadOf=git://test/ "$@" ;;
      *) exec /usr/bin/git "$@" ;;
      esac
      """)
  }

  private func clone(_ shell: Shell, _ home: Home, copy: String) throws -> Shell.Ended {
    try shell.run(
      SetupScript.cloneText, ["agentd", home.profile, Self.url, copy],
      environment: ["PATH=\(home.path)/bin:/usr/bin:/bin"] + Self.environment.dropFirst())
  }

  @Test(
    "is what a clone of the remote is, file by file, and nothing in it names the mirror",
    arguments: Shell.allCases,
    [
      ":", "git symbolic-ref HEAD refs/heads/side/way", "git symbolic-ref HEAD refs/heads/nowhere",
      "git update-ref --no-deref HEAD main~1",
      "for i in $(git for-each-ref --format='%(refname)'); do git update-ref -d $i; done",
      "git update-ref refs/pull/1/head main; git update-ref -d refs/tags/light",
    ])
  func equal(shell: Shell, make: String) throws {
    let home = try Home()
    try prepare(shell, home, make: make)
    let direct = try clone(shell, home, copy: "")
    #expect(direct.code == 0, "\(direct.errors)")
    _ = try shell.run("mv \"$0/repo\" \"$0/direct\"", [home.path])
    let copied = try clone(shell, home, copy: "\(home.path)/mirror")
    #expect(copied.code == 0, "\(copied.errors)")
    #expect(copied.output == direct.output)
    let compared = try shell.run(
      """
      cd "$0"; rm -rf mirror remote.git
      diff -r -x pack -x index repo direct && git -C repo fsck --no-dangling >&2 && git -C repo status --porcelain
      cat repo/.git/objects/info/alternates; find repo/.git/objects -type f -links +1
      grep -raF "$0" repo/.git --exclude-dir=hooks; ls repo/.git/FETCH_HEAD
      for i in repo direct; do git -C $i for-each-ref >$i.refs; git -C $i log --oneline --all >>$i.refs; done
      cmp repo.refs direct.refs
      """, [home.path], environment: Self.environment)
    #expect(compared.output == [], "\(String(decoding: compared.output, as: UTF8.self)) \(compared.errors)")
    #expect(compared.code == 0, "\(compared.errors)")
  }

  @Test(
    "a mirror that cannot be cloned, or lacks an object, is told by the code 7", arguments: Shell.allCases)
  func broken(shell: Shell) throws {
    for damage in [
      "rm mirror/HEAD", "rm mirror/objects/pack/*.pack",
      "chmod u+w mirror/objects/pack/*.pack; printf XXXXXXXX | dd of=$(echo mirror/objects/pack/*.pack) bs=1 seek=9000 conv=notrunc",
    ] {
      let home = try Home()
      try prepare(shell, home, make: ":")
      _ = try shell.run("cd \"$0\" && \(damage)", [home.path])
      let ended = try clone(shell, home, copy: "\(home.path)/mirror")
      #expect(ended.code == 7, "\(damage): \(ended.errors)")
      #expect(
        ended.errors.hasSuffix(
          "agentd: could not clone the mirror of \(Self.url) (git's own words are above)\n"))
    }
  }

  @Test(
    "a work tree that cannot be checked out is no fault of a mirror that is whole", arguments: Shell.allCases)
  func checkout(shell: Shell) throws {
    let home = try Home()
    try prepare(shell, home, make: ":")
    try home.write(
      program: "bin/git",
      "#!/bin/sh\ncase \"$*\" in *\" checkout \"*) exit 1 ;; esac\nexec /usr/bin/git \"$@\"\n")
    let ended = try clone(shell, home, copy: "\(home.path)/mirror")
    #expect(ended.code == SetupScript.failureCode, "\(ended.errors)")
  }
}
