#!/usr/bin/env bash
# How many pings a second the daemon answers on one core, over 100 connections, on both backends.
#
# The client has another core. Beside it in the same run: a bare echo server with lines of the same length. Fails below
# 20,000 a second. AGENTD=PATH measures that binary.

# shellcheck source=examples/host.sh
. "$(dirname "${BASH_SOURCE[0]}")/../examples/host.sh"

daemon='' echo_server=''
scratch=$(mktemp -d "${TMPDIR:-/tmp}/agentd-socket.XXXXXX")

finish() {
  local status=$?
  trap - EXIT
  [[ -z $daemon ]] || stop "$daemon" || true
  [[ -z $echo_server ]] || stop "$echo_server" || true
  remove_tree "$scratch"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

install_packages git g++ liburing-dev
(($(nproc) >= 2)) || fail "this machine has one core: the daemon gets one, and the client needs another"
build_agentd
options=(-c release --package-path "$repository_root/Benchmarks" --product SocketBenchmark)
say "Building the benchmark (the first time takes minutes)"
swift build "${options[@]}" --quiet >&2 || fail "swift build failed"
benchmark=$(swift build "${options[@]}" --show-bin-path)/SocketBenchmark

mkdir "$scratch/methodology" "$scratch/bin"
touch "$scratch/methodology/manifest.toml"
# shellcheck disable=SC2016 # expanded by the stand-in
printf '%s\n' '#!/bin/sh' 'case $1 in' 'info) printf "overlay\n/nonexistent\n" ;;' 'esac' >"$scratch/bin/podman"
chmod 0755 "$scratch/bin/podman"
cat >"$scratch/agentd.toml" <<'EOF'
[daemon]
socket_path = "run/agentd.sock"
pid_file = "run/agentd.pid"
audit_root = "audit"

[[profiles]]
name = "idle"
base_image = "localhost/never-started:latest"
methodology_dir = "methodology"
command = ["/bin/true"]
repo = "https://example.org/never-cloned.git"
EOF

start echo listening taskset -c 0 "$benchmark" echo "$scratch/echo.sock" || fail "the echo server did not start"
echo_server=$started
enough=1
for backend in io_uring epoll; do
  PATH=$scratch/bin:$PATH AGENTD_REACTOR=$backend AGENTD_LOG=info AGENTD_LOG_FORMAT=json \
    start "$backend" agentd.daemon_started taskset -c 0 "$agentd" daemon --config "$scratch/agentd.toml" || {
    cat "$scratch/$backend.log" >&2
    stop "$started" || true
    fail "the daemon did not start on $backend"
  }
  daemon=$started
  taskset -c 1 "$benchmark" measure "$backend" "$scratch/run/agentd.sock" "$scratch/echo.sock" || enough=0
  stop "$daemon" || fail "the daemon did not exit 0 on SIGTERM"
  daemon=''
done
((enough == 1)) || fail "one core must answer more, as said above"
