#!/usr/bin/env bash
# Many sessions at once, measured: Benchmarks/run.sh [--engine stub|podman] [--sessions N[,N...]] [--rounds N]
#     [--out DIRECTORY] [--publish]
#
# --engine stub, the default, takes a small program in podman's place, so that 10,000 sessions fit on two cores: what the
# daemon itself costs (Benchmarks/StubEngine/podman.c). --engine podman takes the real one, beside a bare shell loop that
# makes the same calls (Benchmarks/floor.sh). Tables are printed; JSON and plots go to DIRECTORY (.build/benchmarks).
# --publish also puts them where README.md shows them, whatever they show. Fails when a claim does not hold. Installs what
# is missing and builds everything; AGENTD=PATH measures that binary.

# shellcheck source=Benchmarks/shared.sh
. "$(dirname "${BASH_SOURCE[0]}")/shared.sh"

engine=stub sessions='' rounds=10 publish=''
out=$repository_root/.build/benchmarks
while (($# > 0)); do
  case $1 in
    --publish)
      publish=1
      shift
      continue
      ;;
    --engine | --sessions | --rounds | --out) (($# > 1)) || fail "$1 needs a value" ;;
    *) fail "there is no option '$1': they are --engine, --sessions, --rounds, --out and --publish" ;;
  esac
  printf -v "${1#--}" %s "$2"
  shift 2
done
case $engine in
  stub) sessions=${sessions:-100,1000,3000,10000} ;;
  podman) sessions=${sessions:-1,4,15,60} ;;
  *) fail "--engine is '$engine': it is stub or podman" ;;
esac

# What the stub's sessions leave is in memory, where there is room: the disk is not what they measure. So is the runtime
# directory in any case, as it is where agentd is installed.
disk=${TMPDIR:-/tmp} memory=$disk
if [[ -d /dev/shm && -w /dev/shm ]]; then memory=/dev/shm; fi
if [[ $engine == stub ]]; then disk=$memory; fi
begin bench "$disk"
runtime=$(mktemp -d "$memory/agentd-bench.XXXXXX")

# Only what a measurement that failed has left: ours alone, by their names.
clean_up() {
  local name
  if [[ $engine == podman ]]; then
    for name in "$runtime"/*/????????/; do
      [[ -d $name ]] || continue
      podman ps -aq --filter "name=^agentd-$(basename "$name")-" | xargs -r podman rm -f >/dev/null 2>&1 || true
    done
    podman ps -aq --filter 'name=^agentd-00000000-bench-' | xargs -r podman rm -f >/dev/null 2>&1 || true
  fi
  remove_tree "$runtime"
}

install_packages "${agentd_packages[@]}"
build_agentd
build_benchmark SessionBenchmark
mkdir -p "$out" "$scratch/tools" "$scratch/engine"
rm -f "$out/$engine.json" "$out/$engine"-*.svg
cc=(gcc -static -O2 -Wall -Wextra -Werror)
"${cc[@]}" -o "$scratch/tools/pidwait" "$repository_root/Benchmarks/Tools/tools.c"
ln "$scratch/tools/pidwait" "$scratch/tools/spawncost"
ln "$scratch/tools/pidwait" "$scratch/tools/programtimes"

# Beside podman the benchmark is an instrument that reads a clock: see Benchmarks/Tools/tools.c.
first=() times=()
if [[ $engine == podman ]] && chrt --fifo --reset-on-fork 1 true 2>/dev/null; then first=(chrt --fifo --reset-on-fork 1); fi

image=localhost/never-started:latest repository=git://127.0.0.1:9/none.git
if [[ $engine == podman ]]; then
  choose_podman_store
  import_base_image
  choose_podman_settings
  image=$(base_image)
  # Whom the daemon and the floor take for podman: it writes down when each call began and ended.
  ln "$scratch/tools/pidwait" "$scratch/engine/podman"
  BENCH_PODMAN=$(command -v podman)
  export BENCH_PODMAN
  serve_repository
  "$scratch/tools/programtimes" "$scratch/engine/podman" "$scratch/times" 2>"$scratch/times-error" &
  servers+=("$!")
  until [[ -s $scratch/times ]]; do
    kill -0 "${servers[-1]}" 2>/dev/null || break
    sleep 0.05
  done
  if [[ -s $scratch/times ]]; then
    times=(--times "$scratch/times")
  else
    unset 'servers[-1]'
    say "The kernel does not tell when a process begins to be podman ($(<"$scratch/times-error")): its own clock is read instead"
  fi
  servers+=("$git_daemon")
  repository=git://127.0.0.1:$port/hello.git
else
  "${cc[@]}" -o "$scratch/engine/podman" "$repository_root/Benchmarks/StubEngine/podman.c"
fi

machine="$(nproc) cores, Linux $(uname -r)"
[[ $engine == stub ]] || machine+=", $(podman --version)"
say "Measuring ($engine, $sessions sessions at once, on $machine)"
status=0
"${first[@]}" "$benchmark" --engine "$engine" --sessions "$sessions" --rounds "$rounds" --agentd "$agentd" \
  --tools "$scratch/tools" --podman "$scratch/engine" --floor "$repository_root/Benchmarks/floor.sh" \
  --scratch "$scratch" --runtime "$runtime" --out "$out" --image "$image" --repository "$repository" --machine "$machine" \
  "${times[@]}" || status=$?
if [[ -s $scratch/times && -s $scratch/times-error ]]; then say "programtimes: $(<"$scratch/times-error")"; fi
if [[ -n $publish ]]; then
  [[ -f $out/$engine.json ]] || fail "nothing is published, because the measurement did not come to its end"
  mkdir -p "$repository_root/Benchmarks/results"
  cp "$out/$engine.json" "$out/$engine"-*.svg "$repository_root/Benchmarks/results/"
fi
((status == 0))
