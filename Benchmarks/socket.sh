#!/usr/bin/env bash
# How many pings a second the daemon answers on one core, over 100 connections, on both backends.
#
# The client has another core. Beside it in the same run: a bare echo server with lines of the same length. Fails below
# 20,000 a second. AGENTD=PATH measures that binary.

# shellcheck source=Benchmarks/shared.sh
. "$(dirname "${BASH_SOURCE[0]}")/shared.sh"

begin socket

install_packages git g++ liburing-dev rapidjson-dev
(($(nproc) >= 2)) || fail "this machine has one core: the daemon gets one, and the client needs another"
build_agentd
build_benchmark SocketBenchmark

replace_podman
{
  daemon_section
  profile_section idle
  echo 'repo = "https://example.org/never-cloned.git"'
} >"$scratch/agentd.toml"

start echo listening taskset -c 0 "$benchmark" echo "$scratch/echo.sock" || fail "the echo server did not start"
servers+=("$started")
enough=1
for backend in io_uring epoll; do
  AGENTD_REACTOR=$backend start_daemon "$backend" taskset -c 0
  taskset -c 1 "$benchmark" measure "$backend" "$scratch/run/agentd.sock" "$scratch/echo.sock" || enough=0
  stop_daemon
done
((enough == 1)) || fail "one core must answer more, as said above"
