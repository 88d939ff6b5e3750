#!/usr/bin/env bash
# The floor beside the daemon: the same podman calls for the same sessions, by a bare shell loop.
#
#     floor.sh DIRECTORY PLACES
#
# Each folder of DIRECTORY is a session that run.sh has prepared: the words of its launch, its envelope, its FIFO and its
# name. All begin at once, and no more than PLACES podman processes run at a time, as under the daemon. Nothing is
# recorded, watched, reported or sealed, and nothing is looked at that goes wrong. Prints the seconds that it took.
set -euo pipefail

directory=$1 places=$2

mkfifo "$directory/places"
exec {gate}<>"$directory/places"
rm "$directory/places"
for ((i = 0; i < places; i++)); do printf x >&"$gate"; done

# in_turn COMMAND...: runs it when one of the places is free.
in_turn() {
  local place
  read -r -N 1 -u "$gate" place
  "$@" {gate}>&- >/dev/null
  printf '%s' "$place" >&"$gate"
}

session() {
  local words=() envelope
  mapfile -d '' words <"$1/words"
  exec {envelope}<>"$1/envelope"
  in_turn podman "${words[@]}"
  cat "$1/released" >&"$envelope"
  pidwait "$1/conmon.pid"
  in_turn podman rm --force --ignore --volumes --time 0 "$(<"$1/name")"
}

began=$EPOCHREALTIME
for folder in "$directory"/*/; do session "${folder%/}" & done
wait
ended=$EPOCHREALTIME
awk -v began="$began" -v ended="$ended" 'BEGIN { printf "%.6f\n", ended - began }'
