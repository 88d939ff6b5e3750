#!/usr/bin/env bash
# Every test of agentd, on a machine that may have nothing but Swift: Tests/run.sh [STEP...]
#
# Steps: lint, unit, fuzz (a minute a target), agreement (cron expressions beside implementations by others, from PyPI),
# e2e (real Podman as root), rootless (the same as an ordinary user), asan, quickstart, benchmarks (a small crowd on the
# stand-in for podman), micro (building blocks beside their floors, within committed thresholds), schedule (three minutes of the real clock, beside the others); all of them unless some are named.
# What needs a reactor runs on both of its backends.
# Needs root, because both root and an ordinary user are tested: the latter is agentd-test, made when missing and kept
# for the next run.
# A test that cannot run counts as failed, with the reason. What failed is told once more at the end, so that the tail of
# a log suffices. The last line is the sum: N passed, N failed.

# shellcheck source=examples/host.sh
. "$(dirname "${BASH_SOURCE[0]}")/../examples/host.sh"
cd "$repository_root"

all_steps=(lint unit fuzz agreement e2e rootless asan quickstart benchmarks micro schedule)
backends=(io_uring epoll)
# The tests that need no reactor and compute a lot. Beside the others they would take their processors.
pure='^(CronTests|TimeTests)\.|^EngineTests\.TurnsTests/'
test_user='agentd-test'
fuzz_seconds=60
open_files=8192
step_limit=1200
run_limit=4800
failure_lines=40
# How long before its limit a step is asked where it stands, in seconds: for as long as it runs there is something to see.
asked_before=20
logs=$repository_root/.build/test-logs

steps=("${@:-${all_steps[@]}}")
for step in "${steps[@]}"; do
  [[ " ${all_steps[*]} " == *" $step "* ]] || fail "there is no step '$step': the steps are ${all_steps[*]}"
done
((EUID == 0)) || fail "run this as root: the tests cover agentd as root and as an ordinary user, which it creates"
# A test has a thousand clients and their daemon in one process, and a shell often begins with 1,024.
allowed=$(ulimit -Sn)
if [[ $allowed != unlimited ]] && ((allowed < open_files)); then
  ulimit -Sn "$open_files" 2>/dev/null ||
    fail "the tests need $open_files open files, and the hard limit here is $(ulimit -Hn): raise it first"
fi
command -v swift >/dev/null || fail "swift is not on the PATH: install Swift 6.2 or later from swift.org first"

wants() { [[ " ${steps[*]} " == *" $1 "* ]]; }

passed=0 failed=0 report=()
mkdir -p "$logs"
export NO_COLOR=1
# Some tests crash a process to see that it ends. Swift's own crash handler would stay behind it with its descriptors
# open, and whoever waits for the end of a pipe of the dead would wait for ever.
export SWIFT_BACKTRACE=enable=no

# record NAME PASSED FAILED REMARK: one line of the report, and its part of the sum.
record() {
  local verdict=ok
  (($3 == 0)) || verdict=FAILED
  passed=$((passed + $2)) failed=$((failed + $3))
  report+=("$(printf '%-6s  %-36s %4d passed, %d failed%s' "$verdict" "$1" "$2" "$3" "${4:+ ($4)}")")
}

# count_tests LOG: of a Swift Testing log, how many tests passed and failed, a skipped one being a failed one.
count_tests() {
  local total bad skipped
  total=$(grep -aoE 'Test run with [0-9]+ test' "$1" | tail -n 1 | tr -dc 0-9 || true)
  bad=$(grep -aE '✘ Test .* failed after ' "$1" | grep -avc 'Test run with' || true)
  skipped=$(grep -acE '➜ Test .* skipped' "$1" || true)
  # A run that died has no closing line: what had passed by then is what counts.
  [[ -n $total ]] || total=$((bad + skipped + $(grep -acE '✔ Test .* passed after ' "$1" || true)))
  echo "$((total - bad - skipped)) $((bad + skipped))"
}

# ask_when_late SECONDS LOG: once a step has run for that long, adds to its log where it stands. Standard input is the
# other end of a descriptor that the step's end closes.
ask_when_late() {
  local status=0 standing line
  read -r -t "$1" || status=$?
  # Of `read`, 1 is the end of the file, and all above 128 that the time was up.
  if ((status > 128)); then
    standing=$(where_it_stands "$1" "$2" 2>/dev/null || true)
    while read -r line; do echo "at the limit: $line"; done <<<"$standing" >>"$2"
  fi
}

# where_it_stands SECONDS LOG: the tests that have begun and not ended, the processes that are no older than the step,
# what the threads of its tests wait for, and who has which pipe open: in a hang somebody waits for somebody.
where_it_stands() {
  local young pid
  LC_ALL=C sed -nE 's/ with [0-9]+ test cases? (passed|failed) after / \1 after /
    s/^[^ ]+ +Test (.*) started\.$/+\1/p; s/^[^ ]+ +Test (.*) (passed|failed) after .*/-\1/p' "$2" |
    awk '{ open[substr($0, 2)] += /^[+]/ ? 1 : -1 }
      END { for (name in open) if (open[name] > 0) print "not ended: " name }' | head -n 20
  young=$(ps -eo pid=,ppid=,etimes= | awk -v most="$(($1 + 5))" '$2 != 2 && $3 <= most { print $1 }' | tail -n 40)
  for pid in $young; do
    ps -o pid=,ppid=,stat=,etimes=,wchan:20=,args= -p "$pid" | cut -c -150
  done
  for pid in $(pgrep agentdPackageTe); do ps -L -o pid=,tid=,stat=,wchan:20=,comm= -p "$pid"; done | head -n 30
  for pid in $young; do
    find "/proc/$pid/fd" -lname 'pipe:*' -printf "$pid has %l open as descriptor %f, %M\n" | head -n 12
  done | head -n 80
}

# run KIND NAME COMMAND...: runs a bounded command. KIND is `tests` (Swift Testing counts) or `one` (it is one test).
run() {
  local kind=$1 name=$2 log status=0 began=$SECONDS limit good=0 bad=0 remark=''
  shift 2
  log=$logs/$(tr -c 'a-z0-9\n' - <<<"${name,,}").log
  limit=$((run_limit - SECONDS))
  ((limit < step_limit)) || limit=$step_limit
  printf '%s ... ' "$name"
  : >"$log"
  if ((limit > 0)); then
    exec 8> >(exec 9>&-; ask_when_late "$((limit > asked_before ? limit - asked_before : 1))" "$log")
    # Appended to, because another process tells in it where the step stands.
    timeout --kill-after=30 "$limit" "$@" </dev/null >>"$log" 2>&1 8>&- 9>&- || status=$?
    exec 8>&-
  else
    echo "The time for the whole run, $run_limit s, was used up before." >"$log"
    status=124
  fi
  if [[ $kind == tests ]]; then
    read -r good bad < <(count_tests "$log")
    if ((good + bad == 0)); then remark='no test ended'; fi
  elif ((status == 0)); then
    good=1
  fi
  # A crash, a sanitizer's finding or a time-out is no test's own failure, and still one.
  if ((status != 0 && bad == 0)) || [[ -n $remark ]]; then bad=$((bad + 1)); fi
  if ((status == 124 || status == 137)); then remark=${remark:+$remark, }"stopped after $limit s"; fi
  if ((status != 0)); then remark=${remark:+$remark, }"exit status $status"; fi
  echo "$good passed, $bad failed, $((SECONDS - began)) s"
  record "$name" "$good" "$bad" "$remark"
  if ((bad > 0)); then
    echo "---- $log"
    grep -avE '(^\[[0-9]+/[0-9]+\] |started\.$|✔ (Test|Suite) .* passed after )' "$log" | tail -n 200 || true
    echo "----"
    keep_failures "$log"
    return 1
  fi
}

# detail: standard input under the last line of the report, in plain ASCII and cut: whoever shows a part of the output may
# stop at a line of its own or leave out what is not ASCII.
detail() {
  local line
  while IFS= read -r line; do report+=("        $line"); done < <(LC_ALL=C sed -E 's/[^ -~]+/-/g' | cut -c -160)
}

# keep_failures LOG: what a failed step says of its failures, for the end of the run: what Swift Testing recorded, where
# the step stood at its limit, and its last lines, which are all there is of one that has no such tests or died.
keep_failures() {
  detail < <(
    grep -a '^at the limit: ' "$1" | head -n "$failure_lines" || true
    grep -aE -A 2 '✘ Test .* recorded an issue' "$1" | grep -avE '(started\.|passed after .* seconds\.)$' |
      head -n "$failure_lines" || true
    tail -n 4 "$1"
  )
}

# cannot NAME REASON: a step that could not even begin.
cannot() {
  echo "$1: $2"
  record "$1" 0 1 "$2"
}

finish() {
  local status=$?
  trap - EXIT
  [[ -z ${schedule:-} ]] || kill "$schedule" 2>/dev/null || true
  [[ -z ${stage:-} ]] || remove_tree "$stage"
  [[ -z ${small_disk:-} ]] || { umount "$small_disk" && rmdir "$small_disk"; } || true
  printf '\n'
  # A step that ends the script says why itself: it is one failure more.
  if ((status != 0)); then record 'this script' 0 1 "ended with status $status; the reason is above"; fi
  printf '%s\n' "${report[@]}" ''
  echo "$passed passed, $failed failed"
  ((failed == 0 && passed > 0)) || exit 1
  exit 0
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# bundle BIN: the test bundle, which runs without SwiftPM.
bundle() { echo "$1/agentdPackageTests.xctest"; }

# on_both_backends WHAT BIN OPTION...: the unit tests of a build.
on_both_backends() {
  local what=$1 bin=$2 backend
  shift 2
  for backend in "${backends[@]}"; do
    # With TZ set, setting it to another zone changes it in place, whatever other threads read then.
    run tests "$what, $backend" env TZ=UTC0 AGENTD_REACTOR="$backend" AGENTD_TEST_IMAGE="$(base_image)" \
      AGENTD_TEST_SMALL_DISK="${small_disk:-}" \
      "$(bundle "$bin")" --testing-library swift-testing "$@" || true
  done
}

# as_user COMMAND...: runs it as the ordinary user, which does not keep the lock on that user.
as_user() { "${user[@]}" "$@" 9>&-; }

# make_test_user: the ordinary user with all that rootless Podman wants, and `user`, the words that turn into it.
make_test_user() {
  local home
  if ! id "$test_user" >/dev/null 2>&1; then
    touch /etc/subuid /etc/subgid
    useradd --create-home --shell /bin/bash "$test_user"
  fi
  if ! grep -q "^$test_user:" /etc/subuid || ! grep -q "^$test_user:" /etc/subgid; then
    fail "$test_user has no subordinate ids: give it some with usermod --add-subuids and --add-subgids"
  fi
  home=$(getent passwd "$test_user" | cut -d : -f 6)
  # What a login would have made; there is none. Podman takes vfs, a copy of the image a container, unless it is told.
  install -d -m 0700 -o "$test_user" -g "$(id -g "$test_user")" "/run/$test_user"
  user=(
    runuser -u "$test_user" -- env -i -C "$home" HOME="$home" USER="$test_user" LANG=C.UTF-8 NO_COLOR=1
    SWIFT_BACKTRACE="$SWIFT_BACKTRACE" XDG_RUNTIME_DIR="/run/$test_user"
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  )
  as_user bash -c 'set -e; mkdir -p ~/.config/containers; cd ~/.config/containers
    [ -e storage.conf ] || printf "[storage]\ndriver = \"overlay\"\n" >storage.conf'
  # Readable to that user whoever may read this clone or the toolchain: the binaries, and the libraries they load.
  stage=$(mktemp -d "$home/stage.XXXXXX")
  chmod 0755 "$stage"
  mkdir "$stage/bin"
  cp -r "$repository_root/examples" "$stage/"
}

# stage_binaries BIN: the test bundle and the executable, with their libraries beside them (their run path has $ORIGIN).
stage_binaries() {
  cp -r "$(bundle "$1")" "$1/agentd" "$stage/bin/"
  find "$1" -maxdepth 1 -name '*.resources' -exec cp -r {} "$stage/bin/" \;
  ldd "$(bundle "$1")" "$1/agentd" | awk '$2 == "=>" && $3 ~ /^\// && $3 !~ /^\/(usr\/)?lib/ { print $3 }' | sort -u |
    xargs -r cp --dereference --target-directory "$stage/bin/"
}

# prepare_user_podman: the base image in that user's own store, and its settings appended to `user`.
prepare_user_podman() {
  local image setting settings
  image=$(base_image)
  as_user podman image exists "$image" 2>/dev/null ||
    as_user podman import --quiet - "$image" <"$(base_tarball)" >/dev/null
  # shellcheck disable=SC2016 # expanded by that user's shell
  settings=$(as_user bash -c '. "$1/examples/host.sh"; choose_podman_settings >&2
    env | grep -E "^CONTAINERS_CONF(_OVERRIDE)?=" || true' - "$stage")
  while read -r setting; do
    [[ -z $setting ]] || user+=("$setting")
  done <<<"$settings"
}

# user_processes: that user's living processes. A zombie has ended; when it goes is up to this machine's init.
# No process at all is an error to ps.
user_processes() { { ps -o stat=,pid=,args= -u "$test_user" || true; } | awk '$1 !~ /^Z/ { sub(/^[^ ]+ +/, ""); print }'; }

end_user_processes() { user_processes | cut -d ' ' -f 1 | xargs -r kill -KILL || true; }

# prepare_user: all of the above, once, for the steps that need the ordinary user. One run at a time has it.
prepare_user() {
  [[ ! -v user ]] || return 0
  exec 9>/run/lock/agentd-test.lock
  flock --timeout "$step_limit" 9 || fail "another run has used $test_user for $step_limit s"
  make_test_user
  # What a run that was killed has left is not this run's fault.
  end_user_processes
  as_user podman rm --all --force >/dev/null 2>&1 || true
  prepare_user_podman
}

# leave_user_clean: ends the user's Podman and lists what a session has left, which is a failure.
leave_user_clean() {
  local left pid
  left=$(as_user podman ps --all --format '{{.Names}}: {{.Status}}' 2>/dev/null || true)
  as_user podman system migrate >/dev/null 2>&1 || true
  # What is on its way out gets the time to finish.
  for pid in $(user_processes | cut -d ' ' -f 1); do
    timeout 10 tail --pid="$pid" -s 0.1 -f /dev/null || true
  done
  left+=${left:+$'\n'}$(user_processes)
  if [[ -z $left ]]; then
    record 'nothing left by the ordinary user' 1 0
  else
    record 'nothing left by the ordinary user' 0 1 'listed below'
    detail <<<"$left"
    end_user_processes
  fi
}

# verify_units: systemd accepts the example units without a warning. A warning alone leaves its exit status at 0, so any
# output is a failure. It needs no running systemd, but a program at the path of ExecStart: the units it reads are
# copies in which only that path is another one.
verify_units() {
  local copies kind said='' status=0
  copies=$(mktemp -d)
  for kind in system user; do
    mkdir "$copies/$kind"
    grep -q '^ExecStart=/usr/local/bin/agentd ' "examples/systemd/$kind/agentd.service" || status=1
    sed 's#^ExecStart=/usr/local/bin/agentd #ExecStart=/bin/true #' "examples/systemd/$kind/agentd.service" \
      >"$copies/$kind/agentd.service"
    said+=$(XDG_RUNTIME_DIR=$copies systemd-analyze --"$kind" --man=no --recursive-errors=no verify \
      "$copies/$kind/agentd.service" 2>&1) || status=1
  done
  rm -r "$copies"
  printf '%s' "$said"
  [[ $status == 0 && -z $said ]]
}
export -f verify_units

say "Preparing this host"
install_packages "${agentd_packages[@]}" shellcheck tzdata procps passwd systemd python3 openssl busybox
if [[ " ${steps[*]} " =~ \ (unit|e2e|rootless|asan|quickstart)\  ]]; then
  import_base_image
  choose_podman_settings
fi

# make_small_disk: `small_disk`, a megabyte for anybody's records, for the tests in which the disk is full.
make_small_disk() {
  small_disk=$(mktemp -d)
  mount -t tmpfs -o size=1m,mode=1777 agentd-tests "$small_disk"
}

if wants e2e || wants rootless; then make_small_disk; fi

if wants lint; then
  # A plain Task begins on a thread of Swift's global pool, and Task.yield and Task.sleep go by way of it.
  run one 'no task outside the loop' bash -c '! grep -rnE --include="*.swift" \
    "^[^/]*\bTask(\.(detached|yield|sleep|init)\b|\(priority|[[:space:]]*\{)" Sources' || true
  # Without the trait a few of them hold up every other test (TestSupport/ExitTests.swift).
  # shellcheck disable=SC2016 # expanded by that shell, and by awk
  run one 'exit tests take turns' bash -c 'found=$(find Tests -name "*.swift" -exec awk "
    FNR == 1 || /@Test/ { bound = 0 }
    /[.]exitTest/ { bound = 1 }
    /processExitsWith/ && !bound { print FILENAME \": line \" FNR \" lacks .exitTest\" }" {} +) && [[ -z $found ]] ||
    { echo "$found"; exit 1; }' || true
  run one 'swift format' swift format lint --strict --recursive Package.swift Sources Tests \
    Benchmarks/Package.swift Benchmarks/Sources || true
  run one 'systemd units' bash -c verify_units || true
  run one 'shellcheck' shellcheck -x -a .ci/run examples/quickstart.sh Tests/run.sh Benchmarks/*.sh || true
fi

debug=''
if wants unit || wants agreement || wants e2e || wants rootless || wants schedule; then
  if run one 'debug build' swift build --build-tests; then debug=$(swift build --show-bin-path); fi
fi

# with_debug_build STEP COMMAND...: does the step's command, if there is a build to test.
with_debug_build() {
  if ! wants "$1"; then
    return
  elif [[ -n $debug ]]; then
    "${@:2}"
  else
    cannot "$1" 'the debug build failed'
  fi
}

test_as_user() {
  local backend
  prepare_user
  stage_binaries "$debug"
  for backend in "${backends[@]}"; do
    run tests "rootless, $backend" "${user[@]}" AGENTD_REACTOR="$backend" AGENTD_TEST_IMAGE="$(base_image)" \
      AGENTD_TEST_SMALL_DISK="$small_disk" "$(bundle "$stage/bin")" --testing-library swift-testing --filter EndToEndTests || true
  done
}

# begin_schedule: three minutes of waiting, which the other steps need not wait for.
begin_schedule() {
  AGENTD=$debug/agentd timeout --kill-after=30 "$step_limit" Benchmarks/schedule.sh \
    </dev/null >"$logs/schedule.log" 2>&1 9>&- &
  schedule=$!
}

# end_schedule: its result, whenever it comes.
end_schedule() {
  local status=0
  wait "$schedule" || status=$?
  schedule=''
  echo "schedules in three minutes of the real clock:"
  cat "$logs/schedule.log"
  if ((status == 0)); then
    record 'schedules on the real clock' 1 0
  else
    record 'schedules on the real clock' 0 1 "exit status $status"
    keep_failures "$logs/schedule.log"
  fi
}

# The packages come fresh in their pinned versions, so it needs the network.
agree_with_others() {
  local place=$repository_root/.build/agreement
  install_packages python3 python3-venv
  mkdir -p "$place"
  # Debian's own, whatever else is on the PATH: its venv was just installed.
  if run one 'cronsim and croniter' /usr/bin/python3 Tests/CronTests/agreement.py "$place/triples"; then
    cat "$logs/cronsim-and-croniter.log"
    run tests agreement env TZ=UTC0 AGENTD_AGREEMENT="$place/triples" "$(bundle "$debug")" \
      --testing-library swift-testing --filter AgreementTests || true
  else
    cannot agreement 'there is nothing to compare with'
  fi
}

# test_units: what has no reactor once, apart from the rest: its sums would hold up what waits for the loop.
test_units() {
  run tests 'unit, pure' env TZ=UTC0 "$(bundle "$debug")" --testing-library swift-testing \
    --filter "$pure" --skip AgreementTests || true
  on_both_backends unit "$debug" --skip "EndToEndTests|$pure"
}

with_debug_build unit test_units
with_debug_build agreement agree_with_others
with_debug_build schedule begin_schedule
with_debug_build e2e on_both_backends e2e "$debug" --filter EndToEndTests
with_debug_build rootless test_as_user

# fuzz_cron: feeds the parser of cron expressions from the committed corpus on, and shows the input that it fails on.
fuzz_cron() {
  local options=(-c release --scratch-path .build-fuzz --product CronFuzz) findings=$logs/fuzz-cron input
  # Every room that the fuzzer should see the inside of is built for it, with the address sanitizer.
  options+=(-Xswiftc '-sanitize=fuzzer,address')
  if ! run one 'fuzz build' env AGENTD_FUZZ=1 swift build "${options[@]}"; then
    cannot 'fuzz cron expressions' 'its build failed'
    return
  fi
  rm -rf "$findings"
  mkdir -p "$findings/corpus"
  run one 'fuzz cron expressions' .build-fuzz/release/CronFuzz -max_total_time="$fuzz_seconds" -max_len=1100 \
    -timeout=10 -dict=Tests/Fuzz/cron.dictionary -artifact_prefix="$findings/" \
    "$findings/corpus" Tests/Fuzz/cron.corpus || true
  for input in "$findings"/{crash,timeout,oom,leak}-*; do
    [[ ! -f $input ]] || printf 'Failing input, kept as %s: %s\n' "${input#"$repository_root"/}" "$(cat -v "$input")"
  done
}

if wants fuzz; then fuzz_cron; fi

if wants schedule; then run one 'no search of an occurrence takes 1 ms' Benchmarks/cron.sh || true; fi

# Not beside unit tests: some of them set the clock, to what it shows, which wakes whoever waits for a moment of it.
[[ -z ${schedule:-} ]] || end_schedule

if wants asan; then
  asan=(--scratch-path .build-asan --sanitize=address)
  # The TOML library forgets the keys it hands out; a configuration is read once. All other leaks are failures.
  echo 'leak:/checkouts/TOMLKit/' >"$logs/leaks-of-others"
  export LSAN_OPTIONS="suppressions=$logs/leaks-of-others:print_suppressions=0"
  if run one 'address sanitizer build' swift build --build-tests "${asan[@]}"; then
    on_both_backends 'address sanitizer' "$(swift build "${asan[@]}" --show-bin-path)" \
      --skip "EndToEndTests|$pure"
  else
    cannot 'address sanitizer' 'its build failed'
  fi
fi

if wants quickstart; then
  prepare_user
  if run one 'quickstart as root' examples/quickstart.sh; then
    build_agentd
    cp "$agentd" "$stage/agentd"
    run one 'quickstart as an ordinary user' "${user[@]}" AGENTD="$stage/agentd" "$stage/examples/quickstart.sh" || true
  else
    cannot 'quickstart as an ordinary user' 'it failed as root'
  fi
fi

# A small crowd, so that the benchmark cannot rot. What it claims of threads, descriptors and zombies holds for it as well.
if wants benchmarks; then run one 'a crowd of sessions' Benchmarks/run.sh --sessions 50 --rounds 3 || true; fi

if wants micro; then run one 'building blocks beside their floors' Benchmarks/micro.sh || true; fi

[[ ! -v user ]] || leave_user_clean
