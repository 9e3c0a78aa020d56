#!/usr/bin/env bash
# What Python and Go programs gain or pay: redis-py's RedisCluster and go-redis' ClusterClient, which
# know clusters themselves, against the plain clients of both over redisroute, on the same cluster of 3
# masters, turn by turn in the same run.
#
#     tests/bench/bindings.sh [BUILD-FOLDER]        build/ unless named; with tests built in it
#
# Times are medians of several rounds, of a command; processor time is all that the process used, in
# the kernel too. ROUNDS=15.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "${1:-$root/build}" && pwd)
rounds=${ROUNDS:-15}
tree=$build/bench

for needed in go python3 cmake pkg-config redis-server "$build/tests/cluster_main"; do
    command -v "$needed" >/dev/null || { echo "missing: $needed" >&2; exit 1; }
done

work=$(mktemp -d)
clean_up() {
    exec {cluster_in}>&- || true
    wait
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

quiet() {
    "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2 && exit 1; }
}

# --- what is measured ---

rm -rf "$tree/prefix"
quiet cmake --install "$build" --prefix "$tree/prefix"
library=$(find "$tree/prefix" -name libredisroute.so.0)
[ -x "$tree/python/bin/pip" ] || python3 -m venv "$tree/python"
quiet "$tree/python/bin/pip" install --upgrade redis hiredis cffi

# Go's build cache keeps what pkg-config said, and so stays with the prefix.
export GOCACHE=$tree/go-cache LD_LIBRARY_PATH=${library%/*}
PKG_CONFIG_PATH=$(dirname "$(find "$tree/prefix" -name redisroute.pc)")
export PKG_CONFIG_PATH
(cd "$root/tests/bench/go" && go build -o "$work/go-bench" .)

# --- the cluster ---

mkfifo "$work/cluster-input"
"$build/tests/cluster_main" 3 <"$work/cluster-input" >"$work/cluster-ports" &
exec {cluster_in}>"$work/cluster-input"
until [ -s "$work/cluster-ports" ]; do
    sleep 0.1
done
read -r port _ <"$work/cluster-ports"

REDISROUTE_LIBRARY=$library PYTHONPATH=$root/bindings/python/src \
    "$tree/python/bin/python" "$root/tests/bench/python/bench.py" "$port" "$rounds"
echo
"$work/go-bench" "127.0.0.1:$port" "$rounds"
