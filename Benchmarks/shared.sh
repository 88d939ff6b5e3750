# What the benchmarks share: a directory that goes with them, a build, the heads of a configuration, a daemon.
#
# The scripts beside it source it. It sources examples/host.sh.
# shellcheck shell=bash
# shellcheck disable=SC2034 # what is set here is read by those scripts

# shellcheck source=examples/host.sh
. "$(dirname "${BASH_SOURCE[0]}")/../examples/host.sh"

# The daemon that runs now, and what else is to be stopped at the end.
daemon='' servers=()

# begin NAME [DIRECTORY]: makes `scratch`, in DIRECTORY if that is said. However the script ends, what was started is
# stopped then, `clean_up` is called, and `scratch` is removed.
begin() {
  scratch=$(mktemp -d "${2:-${TMPDIR:-/tmp}}/agentd-$1.XXXXXX")
  trap finish EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

# clean_up: what a script has to do besides, which then has one of its own.
clean_up() { :; }

finish() {
  local status=$? pid
  trap - EXIT
  trap '' INT TERM HUP
  # The one that was started last may be none of them yet.
  for pid in "${started:-}" "$daemon" "${servers[@]}"; do
    [[ -z $pid ]] || stop "$pid" 2>/dev/null || true
  done
  clean_up || status=1
  remove_tree "$scratch" || status=1
  exit "$status"
}

# build_benchmark PRODUCT: builds one of Benchmarks/Package.swift and names it in `benchmark`.
build_benchmark() {
  local options=(-c release --package-path "$repository_root/Benchmarks" --product "$1")
  command -v swift >/dev/null || fail "swift is not on the PATH: install Swift 6.2 or later from swift.org first"
  say "Building the benchmark (the first time takes minutes)"
  swift build "${options[@]}" --quiet >&2 || fail "swift build failed"
  benchmark=$(swift build "${options[@]}" --show-bin-path)/$1
}

# daemon_section: prints the head of an agentd.toml in `scratch`: all that the daemon makes is in there.
daemon_section() {
  printf '[daemon]\nsocket_path = "run/agentd.sock"\npid_file = "run/agentd.pid"\naudit_root = "audit"\ncache_root = "cache"\n'
}

# profile_section NAME [IMAGE]: prints what any profile needs, its methodology in `scratch`; lines for it may follow.
profile_section() {
  mkdir -p "$scratch/methodology"
  touch "$scratch/methodology/manifest.toml"
  printf '[[profiles]]\nname = "%s"\nbase_image = "%s"\nmethodology_dir = "methodology"\ncommand = ["/bin/true"]\n' \
    "$1" "${2:-localhost/never-started:latest}"
}

# replace_podman: puts a stand-in where start_daemon has the daemon look first. It knows every image and starts nothing.
replace_podman() {
  mkdir -p "$scratch/bin"
  # shellcheck disable=SC2016 # expanded by the stand-in
  printf '%s\n' '#!/bin/sh' 'case $1 in' \
    'info) printf "overlay\n/nonexistent\n" ;;' \
    'image) printf "%064d sha256:%064d\n" 1 1 ;;' \
    'run) echo "Error: a stand-in starts no containers" >&2; exit 125 ;;' \
    'esac' >"$scratch/bin/podman"
  chmod 0755 "$scratch/bin/podman"
}

# start_daemon NAME [WORD...]: starts agentd on $scratch/agentd.toml, behind the WORDs of another command, and leaves its
# process id in `daemon`. Its log is $scratch/NAME.log.
start_daemon() {
  local name=$1
  shift
  PATH=$scratch/bin:$PATH AGENTD_LOG=info AGENTD_LOG_FORMAT=json \
    start "$name" agentd.daemon_started "$@" "$agentd" daemon --config "$scratch/agentd.toml" || {
    cat "$scratch/$name.log" >&2
    stop "$started" || true
    fail "the daemon did not start"
  }
  daemon=$started
}

# stop_daemon: ends it as an operator would.
stop_daemon() {
  local pid=$daemon
  daemon='' started=''
  stop "$pid" || fail "the daemon did not exit 0 on SIGTERM"
}
