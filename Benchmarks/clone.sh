#!/usr/bin/env bash
# What clones cost: a repository of 200 MB on a server of this host, behind a proxy that delays each way.
#
# Its history is random data, of which the last tenth is in the work tree, where each clone has to write it once more.
# Prints, from the times of the phases in each record, how long sessions took to come from their request to their clone:
# without a mirror (repo_cache = false), by a mirror for the first time, and later. Fails if later ones are not at least
# five times as fast as a direct clone, if a commit that was pushed before is missing, or if sessions that were asked for at
# once cause more than one fetch. DELAY_MS=N is the delay of each way, 50 unless set; SIZE_MB=N, TREE_MB=N, SESSIONS=N (at
# once) and ROUNDS=N likewise; AGENTD=PATH measures that binary. Needs Podman.

# shellcheck source=Benchmarks/shared.sh
. "$(dirname "${BASH_SOURCE[0]}")/shared.sh"

delay=${DELAY_MS:-50}
size=${SIZE_MB:-200}
tree=${TREE_MB:-$((size / 10))}
sessions=${SESSIONS:-20}
rounds=${ROUNDS:-5}
begin clone

# git without anything of this user's.
quiet_git() {
  env GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=benchmark GIT_AUTHOR_EMAIL=benchmark@localhost \
    GIT_COMMITTER_NAME=benchmark GIT_COMMITTER_EMAIL=benchmark@localhost git "$@"
}

# commit NAME: pushes one more commit, and leaves its name in `head`.
commit() {
  head -c 4096 /dev/urandom >"$scratch/work/$1"
  quiet_git -C "$scratch/work" add --all
  quiet_git -C "$scratch/work" commit --quiet --message "$1"
  quiet_git -C "$scratch/work" push --quiet "$scratch/remote.git" main
  head=$(quiet_git -C "$scratch/work" rev-parse HEAD)
}

# requests: how many clients have asked the server so far.
requests() { grep -c 'Request upload-pack' "$scratch/server.log" || true; }

# run PROFILE: runs a session, and prints its milliseconds in fetch and setup, its commit, and those in fetch alone.
run() {
  "$agentd" run "$1" --config "$scratch/agentd.toml" --json >"$scratch/session" 2>"$scratch/errors" || {
    cat "$scratch/errors" "$scratch/session" >&2
    fail "a session of the profile $1 failed"
  }
  measure "$(sed -nE 's/.*"record" ?: ?"([^"]+)".*/\1/p' "$scratch/session")"
}

# measure RECORD: the same, from a record.
measure() {
  python3 - "$1/agentd/session.json" <<'EOF'
import datetime, json, sys
record = json.load(open(sys.argv[1]))
def moment(text): return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
def spent(*names):
    return round(1000 * sum((moment(phase["end_timestamp"]) - moment(phase["start_timestamp"])).total_seconds()
        for phase in record["phases"] if phase["name"] in names))
print(spent("fetch", "setup"), record["commit"], spent("fetch"))
EOF
}

# median: of one number a line.
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

# row NAME MILLISECONDS: a line of the table, with how many times faster than a direct clone that is.
row() { awk -v name="$1" -v ms="$2" -v direct="$direct" 'BEGIN { printf "  %-44s %8d ms %8.1f x\n", name, ms, direct / ms }'; }

install_packages "${agentd_packages[@]}" python3
build_agentd
import_base_image
choose_podman_settings

say "Making a repository of $size MB"
quiet_git init --quiet --initial-branch=main "$scratch/work"
for ((i = 0; i < size / 5; i++)); do
  head -c 5000000 /dev/urandom >"$scratch/work/data-$((i % (tree / 5)))"
  quiet_git -C "$scratch/work" add --all
  quiet_git -C "$scratch/work" commit --quiet --message "data $i"
done
quiet_git clone --quiet --bare "$scratch/work" "$scratch/remote.git"
quiet_git -C "$scratch/remote.git" repack -a -d -q

# What comes is passed on so much later, in both directions. At most 3 MB are on their way in one, so 6 MB in a round trip,
# which is the largest window of a connection that Linux grants unless it is told otherwise (tcp(7), tcp_rmem).
cat >"$scratch/proxy.py" <<'EOF'
import asyncio, sys
delay, target = int(sys.argv[1]) / 1000, int(sys.argv[2])
async def forward(reader, writer):
    queue = asyncio.Queue(48)
    async def send():
        while True:
            due, data = await queue.get()
            await asyncio.sleep(due - asyncio.get_running_loop().time())
            if not data:
                break
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    sender = asyncio.create_task(send())
    try:
        while True:
            data = await reader.read(1 << 16)
            await queue.put((asyncio.get_running_loop().time() + delay, data))
            if not data:
                break
        await sender
    except OSError:
        sender.cancel()
async def serve(reader, writer):
    other_reader, other_writer = await asyncio.open_connection("127.0.0.1", target)
    await asyncio.gather(forward(reader, other_writer), forward(other_reader, writer), return_exceptions=True)
    for each in writer, other_writer:
        each.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print("ready", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
EOF
# free_port: a port of loopback that nobody listens on now.
free_port() { python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free_port)
start server 'Ready to rumble' git daemon --verbose --export-all --reuseaddr --listen=127.0.0.1 --port="$port" \
  --base-path="$scratch" "$scratch" || fail "git daemon does not start: $(cat "$scratch/server.log")"
servers+=("$started")
start proxy ready python3 "$scratch/proxy.py" "$delay" "$port" || fail "the proxy does not start"
servers+=("$started")
url=git://127.0.0.1:$(awk '/^ready/ { print $2 }' "$scratch/proxy.log")/remote.git

{
  daemon_section
  for name in direct mirrored; do
    profile_section "$name" "$(base_image)"
    printf 'repo = "%s"\nrepo_cache = %s\n' "$url" "$([[ $name == mirrored ]] && echo true || echo false)"
  done
} >"$scratch/agentd.toml"
start_daemon daemon

say "Cloning"
for ((i = 0; i < rounds; i++)); do run direct; done | cut -d ' ' -f 1 >"$scratch/direct"
run mirrored | cut -d ' ' -f 1 >"$scratch/first"
for ((i = 0; i < rounds; i++)); do
  commit "later-$i"
  before=$(requests)
  run mirrored >"$scratch/later-one"
  [[ $(cut -d ' ' -f 2 "$scratch/later-one") == "$head" ]] || fail "a commit that was pushed before was not in the session"
  (($(requests) == before + 1)) || fail "a session caused $(($(requests) - before)) fetches"
  cut -d ' ' -f 1 "$scratch/later-one" >>"$scratch/later"
  cut -d ' ' -f 3 "$scratch/later-one" >>"$scratch/later-fetch"
done

# All requests wait for the daemon, which is held up meanwhile, so that they come at once.
commit at-once
before=$(requests)
kill -STOP "$daemon"
for ((i = 0; i < sessions; i++)); do
  "$agentd" run mirrored --config "$scratch/agentd.toml" --json >"$scratch/at-once-$i" 2>&1 &
  clients[i]=$!
done
socket=$(realpath "$scratch/run/agentd.sock")
# A client that has connected and not been accepted yet is a line of its own there.
for ((try = 0; try < 600; try++)); do
  (($(grep -cF "$socket" /proc/net/unix) <= sessions)) || break
  sleep 0.1
done
kill -CONT "$daemon"
for client in "${clients[@]}"; do wait "$client" || fail "one of the sessions at once failed: $(cat "$scratch"/at-once-*)"; done
fetches=$(($(requests) - before))
for ((i = 0; i < sessions; i++)); do
  measure "$(sed -nE 's/.*"record" ?: ?"([^"]+)".*/\1/p' "$scratch/at-once-$i")"
done >"$scratch/at-once"
[[ $(cut -d ' ' -f 2 "$scratch/at-once" | sort -u) == "$head" ]] || fail "a session at once did not have the last commit"

direct=$(median <"$scratch/direct")
later=$(median <"$scratch/later")
echo "a repository of $size MB, $tree MB of it in the work tree, $delay ms later each way; the phases fetch and setup, median of $rounds"
row 'direct (repo_cache = false)' "$direct"
row 'by a mirror, the first' "$(cat "$scratch/first")"
row 'by a mirror, each after a new commit' "$later"
row "by a mirror, $sessions at once" "$(cut -d ' ' -f 1 "$scratch/at-once" | median)"
echo "  of later ones, git on the host: $(median <"$scratch/later-fetch") ms"
echo "  fetches for $sessions sessions at once: $fetches"
((fetches == 1)) || fail "$sessions sessions at once caused $fetches fetches, where one is enough"
((later * 5 <= direct)) || fail "later clones are not five times as fast as a direct one"
