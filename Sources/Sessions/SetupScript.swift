// The entry script of a session's container: what runs between `podman run` and the profile's command.

/// The three shell scripts that set a session up inside its container, and the words they are started with.
///
/// All of it is POSIX sh and runs under dash, bash called `sh`, and BusyBox ash. The words are visible to
/// everyone on the host (`ps`, `podman inspect`), so they hold nothing secret: secrets come by the envelope.
///
/// Every shell variable is named `AGENTD_…`, a prefix that no credential may use, and is unset before its
/// first use: a variable that came with the image's environment would otherwise be exported with our value.
public enum SetupScript {
  /// Where the FIFO with the session's ``Envelope`` is mounted.
  public static let envelopePath = "/agentd/envelope"

  /// Where the file is mounted to which the setup appends its progress: ``SetupReport``.
  public static let reportPath = "/agentd/report"

  /// Where the profile's methodology is mounted, read-only.
  public static let methodologyPath = "/agentd/methodology"

  /// Where the session's copy of the mirror of its repository is mounted, read-only, when it has one. Only root may
  /// enter it.
  public static let mirrorPath = "/agentd/mirror"

  /// The exit code of every failure before the profile's command runs.
  public static let failureCode: Int32 = 6

  /// The home of the unprivileged user of a profile.
  public static func home(profile: String) -> String { "/home/" + profile }

  /// Where the record's `runa/` is mounted for a profile.
  public static func runaPath(profile: String) -> String { home(profile: profile) + "/.agentd/runa" }

  /// The words after `sh -c` and ``text``, `$0` first: see the head of ``text`` for their meaning.
  ///
  /// - Parameters:
  ///   - profile: the profile's name, which is also the name of the unprivileged user.
  ///   - isMirrored: whether the session clones what is mounted at ``mirrorPath`` instead of the remote.
  ///   - pruned: mount targets below the home, which keep their owner. No glob characters.
  ///   - command: the profile's command, at least one word.
  /// - Returns: the words, for `ContainerLaunch.arguments`.
  public static func arguments(
    profile: String, isMirrored: Bool = false, pruned: [String], command: [String]
  ) -> [String] {
    var words = [
      "agentd", profile, cloneText, commandText, isMirrored ? mirrorPath : "", String(pruned.count),
    ]
    words.reserveCapacity(words.count + pruned.count + command.count)
    words += pruned
    words += command
    return words
  }

  /// The privileged part: reads its half of the envelope, makes the user, hands over the home, starts the
  /// other two scripts as that user.
  ///
  /// Its children get descriptor 3 closed: the credentials are still unread in the pipe behind it.
  public static let text = [openText, readText, prepareText].joined(separator: "\n\n")

  private static let openText = #"""
    # $1 profile, $2 clone script, $3 command script, $4 where the mirror is mounted, empty for none, $5 count of pruned
    # paths, the paths, the command
    [ -p /agentd/envelope ] || { echo 'agentd: /agentd/envelope is not mounted' >&2; exit 6; }
    exec 3</agentd/envelope
    umask 022
    unset AGENTD_PROFILE AGENTD_CLONE AGENTD_COMMAND AGENTD_HOME AGENTD_LINE AGENTD_VALUE AGENTD_REPOSITORY \
      AGENTD_WORK_UNIT AGENTD_CLONE_TOKEN AGENTD_MISSING AGENTD_COUNT AGENTD_NAME AGENTD_UID AGENTD_GID \
      AGENTD_DIR AGENTD_REST AGENTD_COMMIT AGENTD_GROUP AGENTD_MIRROR AGENTD_COPY
    AGENTD_PROFILE=$1 AGENTD_CLONE=$2 AGENTD_COMMAND=$3 AGENTD_MIRROR=$4 AGENTD_COUNT=$5
    AGENTD_HOME=/home/$AGENTD_PROFILE
    shift 5

    fail() { printf 'agentd: %s\n' "$1" >&2; exit 6; }
    report() { printf '%s\n' "$1" >>/agentd/report || fail 'the report file cannot be written'; }
    """#

  /// Takes the first part of the envelope from descriptor 3, and not one byte more: every shell reads a pipe
  /// byte by byte, because what follows a line may be another program's.
  static let readText = #"""
    # One line of the envelope, decoded into AGENTD_VALUE; false when its value is absent. The full stop
    # keeps newlines at the end of the value, which a command substitution would drop.
    value() {
      IFS= read -r AGENTD_LINE <&3 || {
        report unreleased
        fail 'the envelope ended early: the daemon stopped before it had handed the session over'
      }
      AGENTD_VALUE=
      [ "$AGENTD_LINE" != - ] || return 1
      AGENTD_VALUE=$(printf '%b.' "${AGENTD_LINE#+}")
      AGENTD_VALUE=${AGENTD_VALUE%.}
    }
    value
    AGENTD_REPOSITORY=$AGENTD_VALUE
    if value; then export AGENTD_WORK_UNIT="$AGENTD_VALUE"; fi
    value
    AGENTD_CLONE_TOKEN=$AGENTD_VALUE
    unset AGENTD_LINE AGENTD_VALUE
    """#

  private static let prepareText = #"""
    AGENTD_MISSING=
    for AGENTD_NAME in git find useradd gosu mkdir chown chmod ln cp rm; do
      command -v "$AGENTD_NAME" >/dev/null 2>&1 || AGENTD_MISSING="$AGENTD_MISSING, $AGENTD_NAME"
    done
    [ -z "$AGENTD_MISSING" ] ||
      fail "the image lacks ${AGENTD_MISSING#, }: add what is missing to the profile's base_image"

    # The line of the user in /etc/passwd, as AGENTD_UID, AGENTD_GID and AGENTD_DIR; false without one.
    user() {
      while IFS=: read -r AGENTD_NAME AGENTD_REST AGENTD_UID AGENTD_GID AGENTD_REST AGENTD_DIR AGENTD_REST ||
        [ -n "$AGENTD_NAME" ]; do
        [ "$AGENTD_NAME" != "$AGENTD_PROFILE" ] || return 0
      done </etc/passwd
      return 1
    }
    # Where ids in here are ids of the host (rootful Podman), the first free one would be a person's, who could then
    # read the command's credentials in /proc. 60578 to 61183 is nobody's (systemd's UIDS-GIDS).
    make_user() {
      read -r AGENTD_REST AGENTD_UID AGENTD_REST </proc/self/uid_map
      [ "$AGENTD_UID" != 0 ] ||
        set -- -K UID_MIN=60578 -K UID_MAX=61183 -K GID_MIN=60578 -K GID_MAX=61183
      useradd "$@" --home-dir "$AGENTD_HOME" --no-create-home --shell /bin/sh "$AGENTD_GROUP" \
        "$AGENTD_PROFILE" 3<&-
    }
    if ! user; then
      AGENTD_GROUP=--user-group
      while IFS=: read -r AGENTD_NAME AGENTD_REST || [ -n "$AGENTD_NAME" ]; do
        [ "$AGENTD_NAME" != "$AGENTD_PROFILE" ] || AGENTD_GROUP=--gid=$AGENTD_PROFILE
      done </etc/group
      make_user || fail "useradd could not make the user $AGENTD_PROFILE"
      user || fail "the user $AGENTD_PROFILE is not in /etc/passwd after useradd"
    fi
    [ "$AGENTD_UID" != 0 ] || fail "the image's user $AGENTD_PROFILE is root: it must be unprivileged"
    [ "$AGENTD_DIR" = "$AGENTD_HOME" ] ||
      fail "the image's user $AGENTD_PROFILE has the home $AGENTD_DIR: it must be $AGENTD_HOME"

    for AGENTD_DIR in "$AGENTD_HOME" "$AGENTD_HOME/.agentd"; do
      [ ! -L "$AGENTD_DIR" ] || fail "$AGENTD_DIR is a symlink in the image: it must be a directory"
      mkdir -p "$AGENTD_DIR" 3<&- || fail "$AGENTD_DIR cannot be made"
    done
    chown 0:0 "$AGENTD_HOME/.agentd" 3<&- && chmod 0755 "$AGENTD_HOME/.agentd" 3<&- ||
      fail "$AGENTD_HOME/.agentd cannot be given to root"
    for AGENTD_DIR in "$AGENTD_HOME/repo" "$AGENTD_HOME/repo"/* "$AGENTD_HOME/repo"/.[!.]* \
      "$AGENTD_HOME/repo"/..?*; do
      if [ -L "$AGENTD_DIR" ] ||
        { [ -e "$AGENTD_DIR" ] && [ "$AGENTD_DIR" != "$AGENTD_HOME/repo" ]; }; then
        fail "the image ships something at $AGENTD_HOME/repo: the session's clone goes there, remove it"
      fi
    done

    # Called with the paths and the command; passes over what is pruned, crosses no file system, and
    # changes symlinks themselves instead of what they point at.
    hand_over() {
      AGENTD_REST=$(($# - AGENTD_COUNT))
      while [ "$AGENTD_COUNT" -gt 0 ]; do
        set -- "$@" -o -path "$1"
        shift
        AGENTD_COUNT=$((AGENTD_COUNT - 1))
      done
      shift "$AGENTD_REST"
      find "$AGENTD_HOME" -xdev \( -path "$AGENTD_HOME/.agentd" "$@" \) -prune -o \
        -exec chown -h "$AGENTD_UID:$AGENTD_GID" {} + 3<&-
    }
    AGENTD_LINE=$AGENTD_COUNT
    hand_over "$@" || fail "$AGENTD_HOME cannot be given to $AGENTD_PROFILE"
    shift "$AGENTD_LINE"

    report clone
    # The mirror is root's, and no git of root's ever looks at what a remote has sent: the user clones a copy.
    AGENTD_COPY=
    if [ -n "$AGENTD_MIRROR" ]; then
      AGENTD_COPY=$AGENTD_HOME/.agentd/mirror
      mkdir -m 0700 "$AGENTD_COPY" 3<&- && cp -R "$AGENTD_MIRROR/." "$AGENTD_COPY/" 3<&- &&
        chown -R "$AGENTD_UID:$AGENTD_GID" "$AGENTD_COPY" 3<&- ||
        fail "the repository cannot be copied into the container, to $AGENTD_COPY"
    fi
    AGENTD_COMMIT=$(
      AGENTD_CLONE_TOKEN=$AGENTD_CLONE_TOKEN gosu "$AGENTD_PROFILE" /bin/sh -c "$AGENTD_CLONE" agentd \
        "$AGENTD_PROFILE" "$AGENTD_REPOSITORY" "$AGENTD_COPY" 3<&-
    )
    case $? in
      0) ;;
      6) exit 6 ;;
      7)
        report mirror
        exit 6
        ;;
      *) fail "the clone could not be run as $AGENTD_PROFILE" ;;
    esac
    unset AGENTD_CLONE_TOKEN
    [ -z "$AGENTD_COPY" ] || rm -rf "$AGENTD_COPY" 3<&- || fail "$AGENTD_COPY cannot be removed"
    [ -z "$AGENTD_COMMIT" ] || report "commit $AGENTD_COMMIT"

    report command
    export USER="$AGENTD_PROFILE" LOGNAME="$AGENTD_PROFILE" PROFILE_NAME="$AGENTD_PROFILE"
    exec gosu "$AGENTD_PROFILE" /bin/sh -c "$AGENTD_COMMAND" agentd "$AGENTD_PROFILE" "$@"
    """#

  /// The user's first part: the fresh clone and the `.runa` bridge. Prints the cloned commit, if there is one.
  ///
  /// A copy of the mirror is cloned under the name of the remote (url.*.insteadOf): so whatever git writes down of where
  /// it cloned from, in its configuration and its reflogs, says what a clone of the remote says. Git makes hard links of
  /// the copy's objects; the clone owns them alone once the copy is removed. The work tree is checked out afterwards, so
  /// that a filter of the image's (Git LFS) sees the remote and not the copy.
  ///
  /// The token is in the environment of this step alone. git asks for it through a helper that is named for
  /// the scheme and host of the URL, so a redirect to another host gets nothing; and every helper that the
  /// image configures is dropped first, because git would hand the token to it to keep. The home is hidden
  /// from git: something below it may be a mount that an earlier session could write to.
  static let cloneText = #"""
    # $1 profile, $2 repository, $3 the copy of its mirror, empty for none; AGENTD_CLONE_TOKEN in the environment, empty
    # for none. Ends with 7 when the copy is of no use.
    fail() { printf 'agentd: %s\n' "$1" >&2; exit "${2-6}"; }
    unset AGENTD_HOST AGENTD_HOME AGENTD_REPOSITORY AGENTD_COPY
    AGENTD_HOME=/home/$1 AGENTD_REPOSITORY=$2 AGENTD_COPY=$3
    set -- "$1" "$2"
    cd "$AGENTD_HOME" || fail "$AGENTD_HOME cannot be entered by the user $1"
    unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_CONFIG_PARAMETERS \
      GIT_TRACE GIT_TRACE_CURL GIT_TRACE_CURL_NO_DATA GIT_TRACE_REDACT GIT_TRACE_PACKET GIT_CURL_VERBOSE
    export HOME=/nonexistent XDG_CONFIG_HOME=/nonexistent
    export GIT_TERMINAL_PROMPT=0 GIT_ASKPASS= GIT_ALLOW_PROTOCOL=https:http:git

    # Nothing may stay behind in the background: it would keep this environment.
    set -- "$@" -c gc.auto=0 -c maintenance.auto=false -c core.fsmonitor=false
    if [ -n "${AGENTD_CLONE_TOKEN-}" ]; then
      case $2 in
        https://*) ;;
        *) fail 'a clone token is sent to https repositories only' ;;
      esac
      AGENTD_HOST=${2#https://}
      AGENTD_HOST=${AGENTD_HOST%%/*}
      set -- "$@" -c credential.helper= -c "credential.https://$AGENTD_HOST.helper=!answer() {
        [ \"\$1\" != get ] ||
          printf 'username=x-access-token\npassword=%s\n' \"\$AGENTD_CLONE_TOKEN\"
      }; answer"
    fi
    clone() {
      shift 2
      git "$@" clone -- "$AGENTD_REPOSITORY" repo >&2 </dev/null
    }
    # Its options are git's, that of the copy among them, which no file ever holds.
    clone_copy() {
      shift 2
      GIT_ALLOW_PROTOCOL=file git "$@" -c "url.$AGENTD_COPY.insteadOf=$AGENTD_REPOSITORY" \
        clone --quiet --no-checkout -- "$AGENTD_REPOSITORY" repo >&2 </dev/null || return 7
      git -C repo rev-parse --verify --quiet HEAD >/dev/null || return 0
      git "$@" -C repo checkout --quiet >&2 </dev/null && return 0
      # The mirror is blamed only for what is wrong with its objects.
      git -C repo fsck --no-progress --no-dangling >&2 </dev/null || return 7
      return 6
    }
    if [ -n "$AGENTD_COPY" ]; then
      clone_copy "$@" || fail "could not clone the mirror of $2 (git's own words are above)" $?
    else
      clone "$@" || fail "could not clone $2 (git's own words are above)"
    fi
    unset AGENTD_CLONE_TOKEN

    if [ -e repo/.runa ] || [ -L repo/.runa ]; then
      fail "the repository already has .runa: agentd keeps that name for the session's record, rename it"
    fi
    ln -s "$AGENTD_HOME/.agentd/runa" repo/.runa &&
      mkdir -p repo/.git/info &&
      printf '/.runa\n' >>repo/.git/info/exclude ||
      fail 'the link .runa cannot be made in the clone'
    git -C repo rev-parse --verify --quiet HEAD || true
    """#

  /// The user's second part: takes the credentials from descriptor 3 and becomes the command.
  ///
  /// They are all read before the first is exported: one may change how the shell reads or finds programs,
  /// so from there on only builtins run. A name that the shell keeps for itself (UID under bash) is found by
  /// a trial in a subshell whose complaint, which may hold the value, is thrown away. Every shell that runs
  /// this counts SHLVL anew or may, and bash writes `_` when it executes something.
  static let commandText = #"""
    # $1 profile, the rest the command; the credentials behind descriptor 3
    fail() { printf 'agentd: %s\n' "$1" >&2; exit 6; }
    unset AGENTD_COUNT AGENTD_WORDS AGENTD_NAME AGENTD_LINE AGENTD_VALUE AGENTD_EARLY
    export HOME="/home/$1"
    cd "$HOME/repo" || fail "$HOME/repo cannot be entered by the user $1"
    unset OLDPWD
    shift
    AGENTD_WORDS=$#

    AGENTD_EARLY='the envelope ended early: the daemon stopped before it had handed the credentials over'
    IFS= read -r AGENTD_COUNT <&3 || fail "$AGENTD_EARLY"
    while [ "$AGENTD_COUNT" -gt 0 ]; do
      IFS=' ' read -r AGENTD_NAME AGENTD_LINE <&3 || fail "$AGENTD_EARLY"
      AGENTD_VALUE=$(printf '%b.' "$AGENTD_LINE")
      AGENTD_VALUE=${AGENTD_VALUE%.}
      case $AGENTD_NAME in
        SHLVL | _) false ;;
        *)
          (
            export "$AGENTD_NAME=$AGENTD_VALUE" &&
              eval "[ \"x\${$AGENTD_NAME}\" = \"x\$AGENTD_VALUE\" ]"
          ) >/dev/null 2>&1
          ;;
      esac || fail "the credential $AGENTD_NAME cannot be set: the image's /bin/sh keeps that name for itself"
      set -- "$AGENTD_NAME" "$AGENTD_VALUE" "$@"
      AGENTD_COUNT=$((AGENTD_COUNT - 1))
    done
    exec 3<&-

    while [ "$#" -gt "$AGENTD_WORDS" ]; do
      export "$1=$2" 2>/dev/null
      shift 2
    done
    exec "$@"
    """#
}
