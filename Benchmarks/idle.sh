#!/usr/bin/env bash
# What an idle daemon costs, on both backends: the wake-ups of each thread in 30 s, its threads and its memory.
#
# Fails if a thread woke or if there are not exactly two (the loop and the worker). AGENTD=PATH measures that binary.

# shellcheck source=Benchmarks/shared.sh
. "$(dirname "${BASH_SOURCE[0]}")/shared.sh"

seconds=30
expected_threads=2
begin idle

# switches PID: thread id, name and context switches so far, voluntary and not, one thread a line.
switches() {
  local task
  for task in "/proc/$1/task"/*; do
    awk '/^Name:/ { name = $2 } /^(non)?voluntary_ctxt_switches:/ { sum += $2 } END { print id, name, sum }' \
      id="${task##*/}" "$task/status"
  done
}

install_packages "${agentd_packages[@]}"
build_agentd

{
  daemon_section
  profile_section idle
  # A timer that is armed and not due wakes nobody either.
  printf 'repo = "https://example.org/never-cloned.git"\nschedule = "0 0 29 2 *"\n'
} >"$scratch/agentd.toml"

awake=0
for backend in io_uring epoll; do
  AGENTD_REACTOR=$backend start_daemon "$backend"
  # The line above is written before the loop waits for the first time: a second for it to settle.
  sleep 1
  switches "$daemon" >"$scratch/before"
  sleep "$seconds"
  switches "$daemon" >"$scratch/after"

  echo "$backend: context switches in $seconds s"
  awk 'NR == FNR { before[$1] = $3; next }
    { woke = $3 - before[$1]; total += woke; printf "  thread %-8s %-16s %d\n", $1, $2, woke }
    END { exit total != 0 }' "$scratch/before" "$scratch/after" || awake=1
  threads=$(wc -l <"$scratch/after")
  echo "  threads: $threads"
  awk '/^(VmRSS|RssAnon):/ { printf "  %s %d kB\n", $1, $2 }' "/proc/$daemon/status"
  if ((threads != expected_threads)); then awake=1; fi

  stop_daemon
done
((awake == 0)) || fail "an idle daemon must have $expected_threads threads, and none may wake"
