# Makes a Debian host ready for agentd: packages, binary, base image, Podman's settings.
#
# quickstart.sh, Tests/run.sh and the scripts of Benchmarks/ source it.
# shellcheck shell=bash
# shellcheck disable=SC2034 # what is set here is read by those scripts
set -euo pipefail
shopt -s inherit_errexit

# What agentd is built with and what a session needs from its host. runc is not among them: only the
# fallback settings use it, and on a host with Docker's own packages it would push containerd out.
agentd_packages=(
  git g++ liburing-dev rapidjson-dev
  podman conmon crun uidmap slirp4netns fuse-overlayfs netavark aardvark-dns iptables catatonit
  mmdebstrap
)
repository_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Where a server's log goes: set by the script that starts one.
scratch=''
cache=${XDG_CACHE_HOME:-${HOME:?HOME is not set: it holds the cached base image}/.cache}/agentd

say() { printf '==> %s\n' "$*"; }

fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# install_packages PACKAGE...: installs those that are missing, and asks the archive only then.
install_packages() {
  local package missing=() as_root=() log
  # shellcheck source=/dev/null
  [[ $(. /etc/os-release 2>/dev/null && echo "${ID:-}") == debian ]] ||
    fail "this script knows how to prepare Debian only; elsewhere install the counterparts of: $*"
  for package; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed* ]] || missing+=("$package")
  done
  ((${#missing[@]} > 0)) || return 0
  if ((EUID != 0)); then
    sudo -n true 2>/dev/null || fail "packages are missing and installing needs root: apt-get install ${missing[*]}"
    as_root=(sudo -n)
  fi
  say "Installing Debian packages: ${missing[*]}"
  log=$(mktemp)
  # --no-remove: better to stop with apt's reason than to take away what the operator already uses.
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get -q update </dev/null >"$log" 2>&1 || true
  if ! DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get -q -y --no-install-recommends --no-remove \
    -o DPkg::Lock::Timeout=300 install "${missing[@]}" </dev/null >>"$log" 2>&1; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    fail "apt-get could not install: ${missing[*]}"
  fi
  rm -f "$log"
}

# build_agentd: builds the release binary and names it in `agentd`; AGENTD=PATH uses that one instead.
build_agentd() {
  local log options=(-c release -Xswiftc -static-executable --package-path "$repository_root")
  if [[ -n ${AGENTD:-} ]]; then
    [[ -x $AGENTD ]] || fail "AGENTD names $AGENTD, which is not an executable"
    agentd=$AGENTD
    return
  fi
  command -v swift >/dev/null || fail "swift is not on the PATH: install Swift 6.2 or later from swift.org first"
  say "Building agentd (the first time takes minutes)"
  log=$(mktemp)
  if ! swift build "${options[@]}" --product agentd </dev/null >"$log" 2>&1; then
    grep -E 'error:' "$log" >&2 || tail -n 40 "$log" >&2
    rm -f "$log"
    fail "swift build failed"
  fi
  rm -f "$log"
  agentd=$(swift build "${options[@]}" --show-bin-path)/agentd
}

# The options that decide what the base image holds; its tag is made from them, so a change rebuilds it.
# shellcheck disable=SC2054 # the commas are mmdebstrap's
base_recipe=(
  --variant=essential --include=git,gosu,ca-certificates,passwd,findutils
  '--dpkgopt=path-exclude=/usr/share/doc/*'
  '--dpkgopt=path-exclude=/usr/share/man/*'
  '--dpkgopt=path-exclude=/usr/share/locale/*'
)

debian_suite() (
  # shellcheck source=/dev/null
  . /etc/os-release
  echo "${VERSION_CODENAME:?/etc/os-release names no Debian release}"
)

base_version() {
  local suite
  suite=$(debian_suite)
  echo "$suite-$({ dpkg --print-architecture && printf '%s\n' "${base_recipe[@]}"; } | sha256sum | cut -c 1-12)"
}

base_image() { echo "localhost/agentd-base:$(base_version)"; }

# debian_sources: the files of /etc/apt that name this release's own archive (mirrors, keys and options as set).
debian_sources() {
  # shellcheck disable=SC2016 # apt fills these in, not the shell
  apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(SOURCESENTRY)' 'Created-By: Packages' |
    awk -v suite="$1" '$1 == "Debian" && $2 ~ "^" suite "(-updates|-security)?$" { sub(/:[0-9]+$/, "", $3); print $3 }' |
    sort -u
}

# base_tarball: the path of the base image's file system; made from the host's own apt sources, without a registry.
base_tarball() {
  local suite tarball sources=()
  tarball=$cache/base-$(base_version).tar
  if [[ ! -f $tarball ]]; then
    suite=$(debian_suite)
    mapfile -t sources < <(debian_sources "$suite")
    if ((${#sources[@]} == 0 && EUID == 0)); then
      apt-get -q update </dev/null >&2
      mapfile -t sources < <(debian_sources "$suite")
    fi
    ((${#sources[@]} > 0)) || fail "apt knows no Debian archive for $suite: run apt-get update as root first"
    mkdir -p "$cache"
    (
      work=$(mktemp -d "$cache/.base.XXXXXX")
      trap 'rm -rf "$work"' EXIT
      # mmdebstrap reads none of the host's apt settings by itself. Only for fetching: they are not left in the image.
      {
        apt-config dump | grep -E '^Acquire::(https?|Check-[A-Za-z-]+|Retries|ForceIPv[46])(::| )' || true
        printf 'Dir::Etc::netrc "/etc/apt/auth.conf";\nDir::Etc::netrcparts "/etc/apt/auth.conf.d";\n'
      } >"$work/apt.conf"
      # shellcheck disable=SC2016 # $1 is mmdebstrap's: the root of the tree
      if ! mmdebstrap "${base_recipe[@]}" --aptopt="$work/apt.conf" \
        --customize-hook='cd "$1/etc/apt" && rm -rf sources.list sources.list.d apt.conf.d/99mmdebstrap' \
        "$suite" "$work/base.tar" "${sources[@]}" </dev/null >"$work/log" 2>&1; then
        tail -n 20 "$work/log" >&2
        fail "mmdebstrap could not make the base image"
      fi
      rm -f "$cache"/base-*.tar
      mv "$work/base.tar" "$tarball"
    )
  fi
  echo "$tarball"
}

# keep_settings NAME: writes standard input to a file of the cache in one step and prints its path.
keep_settings() {
  mkdir -p "$cache"
  cat >"$cache/$1.$$"
  mv "$cache/$1.$$" "$cache/$1"
  echo "$cache/$1"
}

# choose_podman_store: exports a store of our own where Podman would copy the whole image for every container, as
# Debian 12's does for an ordinary user without a storage.conf. What is in that user's store stays as it is.
choose_podman_store() {
  ((EUID != 0)) && [[ $(podman info --format '{{.Store.GraphDriverName}}' 2>/dev/null) == vfs ]] || return 0
  CONTAINERS_STORAGE_CONF=$(printf '[storage]\ndriver = "overlay"\nrootless_storage_path = "%s"\n' "$cache/storage" |
    keep_settings storage.conf)
  export CONTAINERS_STORAGE_CONF
  say "Podman's storage copies images here (vfs): keeping the base image in $cache/storage (overlay) instead"
}

# import_base_image: gives this user's Podman the base image, unless it has it.
import_base_image() {
  local image tarball
  image=$(base_image)
  ! podman image exists "$image" 2>/dev/null || return 0
  say "Making the base image $image from Debian packages"
  tarball=$(base_tarball)
  podman import --quiet "$tarball" "$image" >/dev/null
}

# starts_on_host_network: a container of the base image starts, and shares the host's network. What Podman said is
# then in `probe_output`.
starts_on_host_network() {
  probe_output=$(podman run --rm --pull=never "$(base_image)" readlink /proc/self/ns/net 2>&1 || true)
  grep -qxF "$(readlink /proc/self/ns/net)" <<<"$probe_output"
}

# host_settings: the containers.conf that Podman would read here, with the host's network as its default.
host_settings() {
  local file
  for file in "${CONTAINERS_CONF:-}" "${XDG_CONFIG_HOME:-$HOME/.config}/containers/containers.conf" \
    /etc/containers/containers.conf /usr/share/containers/containers.conf /dev/null; do
    if [[ $file == /dev/null || -r $file ]]; then break; fi
  done
  awk '/^[ \t]*netns[ \t]*=/ { next }
    { print }
    /^[ \t]*\[containers\]/ { print "netns = \"host\""; done = 1 }
    END { if (!done) print "[containers]\nnetns = \"host\"" }' "$file"
}

# fallback_settings: for hosts without CAP_SYS_RESOURCE or with hybrid cgroups, where crun and the default limits are refused.
fallback_settings() {
  local files
  files=$(ulimit -Hn)
  if [[ $files == unlimited ]] || ((files > 20000)); then files=20000; fi
  printf '[containers]\ndefault_ulimits = ["nofile=%d:%d", "nproc=1024:1024"]\nnetns = "host"\n\n[engine]\nruntime = "runc"\n' \
    "$files" "$files"
}

# choose_podman_settings: exports the settings with which Podman starts containers that reach a server on this
# host's loopback. The host's own come first, with nothing changed but the network; the fallback comes last.
choose_podman_settings() {
  local reason settings
  if ! starts_on_host_network; then
    # Podman 4.4 and later lays this file over the host's own; to an earlier one CONTAINERS_CONF must say it all.
    CONTAINERS_CONF_OVERRIDE=$(printf '[containers]\nnetns = "host"\n' | keep_settings host-network.conf)
    export CONTAINERS_CONF_OVERRIDE
    if ! starts_on_host_network; then
      unset CONTAINERS_CONF_OVERRIDE
      settings=$(host_settings | keep_settings host.conf)
      if ! CONTAINERS_CONF=$settings starts_on_host_network; then
        reason=$(tail -n 1 <<<"$probe_output" | cut -c 1-200)
        command -v runc >/dev/null || install_packages runc
        settings=$(fallback_settings | keep_settings fallback.conf)
        CONTAINERS_CONF=$settings starts_on_host_network ||
          fail "Podman starts no container: with this host's settings: ${reason:-no reason given};" \
            "with $settings: $(tail -n 1 <<<"$probe_output")"
        say "Podman refuses this host's own settings (${reason:-no reason given}): using $settings instead"
      fi
      export CONTAINERS_CONF=$settings
    fi
  fi
}

# start NAME WORD COMMAND...: starts a server and returns once a line of its output holds WORD. Its process id is
# then in `started`, its output in $scratch/NAME.log. A server that ends is seen at once; one that hangs, in a minute.
start() {
  local name=$1 word=$2 line lines
  shift 2
  : >"$scratch/$name.log"
  mkfifo "$scratch/$name.fifo"
  # Its own session, as its reader below: a Ctrl-C in the terminal is for the script alone, which then stops both.
  setsid "$@" </dev/null >"$scratch/$name.fifo" 2>&1 &
  started=$!
  exec {lines}<"$scratch/$name.fifo"
  rm "$scratch/$name.fifo"
  while IFS= read -r -t 60 -u "$lines" line; do
    printf '%s\n' "$line" >>"$scratch/$name.log"
    [[ $line != *"$word"* ]] || break
  done
  if [[ ${line:-} != *"$word"* ]]; then
    exec {lines}<&-
    return 1
  fi
  setsid cat <&"$lines" >>"$scratch/$name.log" &
  exec {lines}<&-
}

# stop PID: SIGTERM, then waits for the end (SIGKILL after two minutes); the status is the server's own.
# tail is the one tool of a bare system that waits for a process and can itself be bounded.
stop() {
  kill -TERM "$1" 2>/dev/null || true
  timeout 120 tail --pid="$1" -s 0.1 -f /dev/null || kill -KILL "$1" 2>/dev/null || true
  wait "$1"
}

# serve_repository: makes a repository in `scratch` and has git serve it, to any number of clients at once, on a free port
# of loopback, as git://127.0.0.1:$port/hello.git. The server's process id is then in `git_daemon`.
serve_repository() {
  local try
  git init --quiet --initial-branch=main "$scratch/seed"
  echo '# A repository for an agent to work on' >"$scratch/seed/README.md"
  git -C "$scratch/seed" add README.md
  git -C "$scratch/seed" -c user.name=operator -c user.email=operator@localhost -c commit.gpgsign=false \
    commit --quiet --no-verify --message 'Begin'
  git clone --quiet --bare "$scratch/seed" "$scratch/repositories/hello.git"
  for try in {1..20}; do
    port=$((RANDOM % 20000 + 20000))
    if start "git-$try" 'Ready to rumble' "$(git --exec-path)/git-daemon" --verbose --export-all \
      --base-path="$scratch/repositories" --listen=127.0.0.1 --port="$port" --max-connections=0; then
      git_daemon=$started
      return
    fi
    stop "$started" || true
  done
  tail -n 5 "$scratch/git-$try.log" >&2
  fail "git daemon found no free port on 127.0.0.1"
}

# remove_tree PATH: also what a rootless container's users own and what a record has sealed.
remove_tree() {
  rm -rf "$1" 2>/dev/null || podman unshare rm -rf "$1"
}
