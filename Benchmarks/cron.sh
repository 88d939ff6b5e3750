#!/usr/bin/env bash
# What cron costs: to read an expression, to find when it fires next, and 1 to 100,000 schedules on the wheel.
#
# Fails if an expression of a large sample takes more than 1 ms, to read or to find its next occurrence. Figures are
# processor time; a busy machine makes them somewhat larger.

# shellcheck source=Benchmarks/shared.sh
. "$(dirname "${BASH_SOURCE[0]}")/shared.sh"

install_packages git g++ tzdata
build_benchmark CronBenchmark
"$benchmark"
