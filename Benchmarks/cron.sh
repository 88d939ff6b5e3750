#!/usr/bin/env bash
# What cron costs: to read an expression, to find when it fires next, and 1 to 100,000 schedules on the wheel.
#
# Fails if an expression of a large sample takes more than 1 ms, to read or to find its next occurrence. Figures are
# processor time; a busy machine makes them somewhat larger.

# shellcheck source=examples/host.sh
. "$(dirname "${BASH_SOURCE[0]}")/../examples/host.sh"

install_packages git g++ tzdata
command -v swift >/dev/null || fail "swift is not on the PATH: install Swift 6.2 or later from swift.org first"

options=(-c release --package-path "$repository_root/Benchmarks" --product CronBenchmark)
say "Building the benchmark (the first time takes a minute)"
swift build "${options[@]}" --quiet >&2 || fail "swift build failed"
"$(swift build "${options[@]}" --show-bin-path)/CronBenchmark"
