#!/usr/bin/env bash
# What the program's building blocks cost beside the least that the same work can cost, held against thresholds.
#
# Each figure of Benchmarks/Micro is the time of some work in percent of that of its floor (a child beside posix_spawn, a
# request beside the same bytes over a socket pair, …), both measured by turns in one process, so the speed of the machine
# is no part of it. Prints the median of each and fails when one is above its threshold in Benchmarks/Micro/thresholds,
# has none there, or was not measured. Measures for some ten seconds. Allocations are not counted: the
# package's counter of them reads 0 with this toolchain.

# shellcheck source=Benchmarks/shared.sh
. "$(dirname "${BASH_SOURCE[0]}")/shared.sh"

thresholds=$repository_root/Benchmarks/Micro/thresholds
begin micro-figures

install_packages git g++ liburing-dev rapidjson-dev
command -v swift >/dev/null || fail "swift is not on the PATH: install Swift 6.2 or later from swift.org first"
say "Building and measuring (the first time takes minutes)"
swift package --package-path "$repository_root/Benchmarks/Micro" -c release --disable-sandbox \
  --allow-writing-to-package-directory benchmark --target Micro --no-progress \
  --format histogramPercentiles --path "$scratch/figures" </dev/null >"$scratch/log" 2>&1 || {
  tail -n 20 "$scratch/log" >&2
  fail "the micro-benchmarks did not run"
}

# A file each: percentile and value, one a line. The name of a benchmark begins with a word and a colon.
status=0
printf '  %-12s %8s %10s  %s\n' '' percent threshold 'of the floor'
for file in "$scratch/figures"/*.Micro.*.tsv; do
  name=${file##*.Micro.}
  name=${name%%[:.]*}
  figure=$(awk -F '\t' '$1 == 50 { print int($2) }' "$file")
  threshold=$(awk -F '\t' -v name="$name" '$1 == name { print $2 }' "$thresholds")
  verdict=holds
  if [[ ! $figure =~ ^[1-9][0-9]*$ ]]; then
    verdict='WAS NOT MEASURED'
    figure=0
  elif [[ -z $threshold ]]; then
    verdict='has no threshold'
  elif ((figure > threshold)); then
    verdict='IS TOO MUCH'
  fi
  [[ $verdict == holds ]] || status=1
  printf '  %-12s %8d %10s  %s\n' "$name" "$figure" "${threshold:-?}" "$verdict"
  echo "$name" >>"$scratch/measured"
done
while read -r name; do
  grep -qxF "$name" "$scratch/measured" || fail "'$name' has a threshold and was not measured"
done < <(awk -F '\t' '/^[^#]/ { print $1 }' "$thresholds")
((status == 0)) || fail "a building block costs more than it may, as said above"
