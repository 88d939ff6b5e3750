#!/usr/bin/env bash
# What sealing a record of 100,000 files costs, and what clients of the daemon notice of it meanwhile.
#
# Prints sealing beside `chmod -R` on a tree of the same kind in the same run, and the round trips of pings while a
# daemon seals. Fails above 1.5 times of chmod's wall or processor time, and where one ping in a hundred takes 2 ms or
# more. FILES=N sets how many files, AGENTD=PATH measures that binary. The sessions are run by a stand-in for podman.

# shellcheck source=Benchmarks/shared.sh
. "$(dirname "${BASH_SOURCE[0]}")/shared.sh"

files=${FILES:-100000}
begin seal

# A record that was sealed lets nobody remove anything.
clean_up() { chmod -R u+w "$scratch"; }

install_packages git g++ liburing-dev rapidjson-dev
build_agentd
build_benchmark SealBenchmark

{
  daemon_section
  profile_section seal
  printf 'repo = "https://127.0.0.1:9/none.git"\nrepo_cache = false\n'
} >"$scratch/agentd.toml"

# Its container reads its envelope, comes to its command, and fills runa/ in place of that.
mkdir "$scratch/bin"
cat >"$scratch/bin/podman" <<EOF
#!/bin/sh
benchmark='$benchmark' files='$files' scratch='$scratch'
EOF
cat >>"$scratch/bin/podman" <<'EOF'
container() {
  exec <"$envelope"
  read -r repository; read -r unit; read -r token; read -r count
  echo command >>"$report"
  exec "$benchmark" fill "$runa" "$files"
}
conmon() {
  container &
  echo $! >"$pid"
  sh -c 'echo $PPID' >"$conmon_pid"
  echo started >"$scratch/started"
  wait $!
  echo "exited $? false \"2026-11-23T04:05:06Z\"" >"$scratch/exit"
}
verb=$1
shift
case $verb in
info) printf 'overlay\n%s\n' "$scratch/store" ;;
image) printf '%064d sha256:%064d\n' 1 1 ;;
inspect) cat "$scratch/exit" ;;
run)
  while [ $# -gt 0 ]; do
    case $1 in
    --conmon-pidfile) conmon_pid=$2 ;;
    --pidfile) pid=$2 ;;
    --mount)
      source=${2#type=bind,src=}
      case $2 in
      *,dst=/agentd/envelope*) envelope=${source%%,*} ;;
      *,dst=/agentd/report*) report=${source%%,*} ;;
      */.agentd/runa*) runa=${source%%,*} ;;
      esac ;;
    esac
    shift
  done
  conmon </dev/null >/dev/null 2>&1 &
  read -r word <"$scratch/started"
  printf '%064d\n' 1 ;;
esac
EOF
chmod 0755 "$scratch/bin/podman"
mkfifo "$scratch/started"

mkdir "$scratch/cost"
within=1
"$benchmark" ratio "$scratch/cost" "$files" || within=0

start_daemon daemon
"$benchmark" daemon "$agentd" "$scratch/agentd.toml" "$scratch/run/agentd.sock" "$scratch" "$files" || within=0
stop_daemon
((within == 1)) || fail "sealing takes more than it may, as said above"
