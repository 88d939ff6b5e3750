#!/usr/bin/env bash
# How late schedules are: profiles that are all due in each of three minutes of the real clock, on one daemon.
#
# Prints the lateness of dispatch (from the occurrence to the request on the socket) and of the answer (the session is
# accepted, its record made). Fails if an occurrence was left out, was doubled or came out of order, or if a thread woke
# while nothing was due. PROFILES=N sets how many, 200 unless set; AGENTD=PATH measures that binary; ENGINE=podman takes
# the real Podman, and its sessions then run; otherwise each launch is refused by a stand-in, as 200 sessions at once are
# another benchmark's subject.

# shellcheck source=Benchmarks/shared.sh
. "$(dirname "${BASH_SOURCE[0]}")/shared.sh"

minutes=3
profiles=${PROFILES:-200}
engine=${ENGINE:-stub}
# The seconds of each minute in which nobody may wake: the sessions of the stand-in are over long before.
quiet_from=45 quiet_for=10
begin schedule

# switches PID: the context switches of all threads so far.
switches() { awk '/^(non)?voluntary_ctxt_switches:/ { sum += $2 } END { print sum }' "/proc/$1/task/"*/status; }

# sleep_until SECONDS: returns when the clock shows that time of the epoch.
sleep_until() { sleep "$(awk -v now="$(date +%s.%N)" -v at="$1" 'BEGIN { print (at > now) ? at - now : 0 }')"; }

# percentiles NAME: of one number a line, in microseconds, as a row of the table.
percentiles() {
  sort -n | awk -v name="$1" '{ v[NR] = $1 / 1000 } END {
    printf "  %-28s %9.2f %9.2f %9.2f\n", name, v[int((NR + 1) / 2)], v[int(NR * 0.99 + 0.999)], v[NR] }'
}

[[ $engine == stub || $engine == podman ]] || fail "ENGINE is '$engine': it is stub or podman"
install_packages "${agentd_packages[@]}"
build_agentd

image=localhost/never-started:latest
if [[ $engine == podman ]]; then
  import_base_image
  choose_podman_settings
  image=$(base_image)
else
  replace_podman
fi
{
  daemon_section
  echo 'max_sessions = 1000'
  for ((i = 0; i < profiles; i++)); do
    profile_section "p$i" "$image"
    # Nobody serves this repository: a session ends with the failure of its clone.
    printf 'repo = "https://127.0.0.1:9/none.git"\nrepo_cache = false\nschedule = "* * * * *"\n'
  done
} >"$scratch/agentd.toml"

# Begun in the middle of a minute, so that each measured minute is a whole one.
now=$(date +%s)
if ((now % 60 > quiet_from)); then sleep_until $((now / 60 * 60 + 60 + 1)); fi
start_daemon daemon
first=$((($(date +%s) / 60 + 1) * 60))
woken=0 quiet=0
for ((minute = 0; minute < minutes; minute++)); do
  sleep_until $((first + 60 * minute + quiet_from))
  # On a machine with much else to do the minute's sessions may not be over yet: then there is nothing to be seen.
  over=$(grep -c '"runner.session_teardown"' "$scratch/daemon.log" || true)
  ((over >= profiles * (minute + 1))) || continue
  quiet=$((quiet + quiet_for))
  before=$(switches "$daemon")
  sleep "$quiet_for"
  after=$(switches "$daemon")
  woken=$((woken + after - before))
done
log=$scratch/daemon.log
stop_daemon

echo "$profiles profiles, $minutes minutes, engine $engine (milliseconds)"
printf '  %-28s %9s %9s %9s\n' '' median p99 max
grep '"agentd.scheduled_run_dispatched"' "$log" >"$scratch/dispatched" || true
sed -E 's/.*"lateness_us":"?([0-9]+).*/\1/' "$scratch/dispatched" | percentiles 'occurrence to request'
# Both times are in the same minute or the next one, so seconds and milliseconds are enough.
sed -E 's/.*"scheduled_for":"[^"]*T([0-9:]+)[^"]*".*"timestamp":"[^"]*T([0-9:.]+)Z".*/\1 \2/' "$scratch/dispatched" |
  awk '{ split($1, a, ":"); split($2, b, ":"); late = (b[1] - a[1]) * 3600 + (b[2] - a[2]) * 60 + b[3] - a[3]
    print (late < 0 ? late + 86400 : late) * 1e6 }' | percentiles 'occurrence to answer'
echo "  context switches in $quiet s between occurrences: $woken"

# One line an occurrence in the order of the log: its second and its profile.
sed -E 's/.*"profile":"([^"]+)".*"scheduled_for":"([^"]+)".*/\2 \1/' "$scratch/dispatched" >"$scratch/occurrences"
for ((minute = 0; minute < minutes; minute++)); do
  at=$(date -u -d "@$((first + 60 * minute))" +%Y-%m-%dT%H:%M:00.000Z)
  count=$(grep -c "^$at " "$scratch/occurrences" || true)
  different=$(grep "^$at " "$scratch/occurrences" | sort -u | wc -l)
  ((count == profiles && different == profiles)) ||
    fail "$at: $count dispatches of $different profiles, where $profiles were due"
done
cut -d ' ' -f 1 "$scratch/occurrences" | sort -c || fail "an occurrence was dispatched before an earlier one"
if grep -E '"agentd.(schedule_missed|scheduled_run_dispatch_failed)"' "$log"; then
  fail "occurrences were missed or refused, as listed above"
fi
[[ $engine == podman ]] || ((woken == 0)) || fail "a thread woke while nothing was due"
