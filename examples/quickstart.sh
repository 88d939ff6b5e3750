#!/usr/bin/env bash
# From a fresh Debian machine with Swift to one sealed session, shown and cleaned up.
#
# Installs what is missing, builds agentd, makes a base image, serves a repository on loopback and runs a session
# on it. Works as root and as an ordinary user. AGENTD=PATH uses a binary that is already built.

# shellcheck source=examples/host.sh
. "$(dirname "${BASH_SOURCE[0]}")/host.sh"

daemon='' git_daemon=''
scratch=$(mktemp -d "${TMPDIR:-/tmp}/agentd-quickstart.XXXXXX")

finish() {
  local status=$? record
  trap - EXIT
  trap '' INT TERM HUP
  if [[ -n $daemon ]]; then
    say "Stopping the daemon and removing $scratch"
    if ! stop "$daemon"; then
      echo "The daemon did not end well; the end of its log:" >&2
      tail -n 20 "$scratch/agentd.log" >&2
      status=1
    fi
  fi
  [[ -z $git_daemon ]] || stop "$git_daemon" 2>/dev/null || true
  # The daemon removes its containers; this is for the one that was killed before it could.
  for record in "$scratch"/audit/*/*/; do
    [[ -d $record ]] || continue
    podman ps -aq --filter "name=$(basename "$record")" 2>/dev/null | xargs -r podman rm -f >/dev/null 2>&1 || true
  done
  remove_tree "$scratch" || status=1
  exit "$status"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

say "Checking the host's packages"
install_packages "${agentd_packages[@]}"
build_agentd
choose_podman_store
import_base_image
choose_podman_settings

serve_repository
say "Serving a repository at git://127.0.0.1:$port/hello.git"

mkdir "$scratch/methodology"
cat >"$scratch/methodology/manifest.toml" <<'EOF'
name = "demo"
EOF
cat >"$scratch/agentd.toml" <<EOF
[daemon]
socket_path = "run/agentd.sock"
pid_file = "run/agentd.pid"
audit_root = "audit"
cache_root = "cache"

[[profiles]]
name = "demo"
base_image = "$(base_image)"
methodology_dir = "methodology"
repo = "git://127.0.0.1:$port/hello.git"
command = [
  "/bin/sh",
  "-c",
  '''
echo "user:        \$(id -un), in \$(pwd)"
echo "commit:      \$(git log -1 --format='%h %s')"
echo "work unit:   \$AGENTD_WORK_UNIT"
echo "credential:  GREETING_TOKEN has \${#GREETING_TOKEN} characters"
echo "methodology: \$(cat /agentd/methodology/manifest.toml)"
echo "Worked on \$AGENTD_WORK_UNIT." > .runa/report.md
''',
]

[[profiles.credentials]]
name = "GREETING_TOKEN"
source = "AGENTD_GREETING_TOKEN"
EOF
sed -n '/^\[\[profiles\]\]/,$ s/^/    /p' "$scratch/agentd.toml"

say "Starting the daemon"
AGENTD_GREETING_TOKEN=not-a-real-token AGENTD_LOG=info AGENTD_LOG_FORMAT=json \
  start agentd agentd.daemon_started "$agentd" daemon --config "$scratch/agentd.toml" || {
  cat "$scratch/agentd.log" >&2
  stop "$started" || true
  fail "the daemon did not start"
}
daemon=$started

say "agentd run demo --work-unit issue-1"
"$agentd" run demo --config "$scratch/agentd.toml" --work-unit issue-1 --timeout 60s || {
  tail -n 20 "$scratch/agentd.log" >&2
  fail "the session did not succeed; above is the end of the daemon's log"
}

records=("$scratch"/audit/demo/*)
say "The sealed record ${records[0]#"$scratch"/}"
(cd "${records[0]}" && ls -lR . && echo && cat agentd/session.json && echo)
