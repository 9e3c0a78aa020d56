#!/usr/bin/env bash
# One small hiredis program on a Redis Cluster, without and with redisroute.
# Installs what is missing from Debian's packages (as root or with sudo), builds the library, and
# leaves nothing running.
set -euo pipefail
cd "$(dirname "$0")/.."
source examples/cluster.sh

packages=(cmake make gcc pkg-config libhiredis-dev libyaml-dev redis-server redis-tools)

say() {
    printf '\n\033[1m== %s\033[0m\n' "$*"
}

build() {
    say "Building the library and the program"
    {
        cmake -S . -B build &&
            cmake --build build --parallel "$(nproc)" --target redisroute redisroute_preload
    } >"$work/log" 2>&1 || { cat "$work/log"; return 1; }
    preload=$(echo build/preload/libhiredis.so.*)
    # The program is built against hiredis, as everywhere; it does not know of redisroute.
    cc examples/demo.c $(pkg-config --cflags --libs hiredis) -o "$work/demo"
    echo "  $preload"
}

keys_of_each_master() {
    local port line=
    for port in "${cluster_ports[@]:0:3}"; do
        line+="${line:+ | }$(redis-cli -p "$port" keys '*' | sort | paste -sd' ')"
    done
    echo "$line"
}

clean_up() {
    cluster_stop || true
    rm -rf "$work"
}

work=$(mktemp -d)
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

bash tests/install.sh "${packages[@]}"
build

say "Starting 3 masters and 3 replicas"
cluster_start
echo "  masters ${cluster_ports[*]:0:3}, replicas ${cluster_ports[*]:3}"
first=${cluster_ports[0]}

say "The program alone: demo 127.0.0.1 $first"
"$work/demo" 127.0.0.1 "$first" || true

say "The same program with redisroute: LD_PRELOAD=$preload demo 127.0.0.1 $first"
# The few keys that got through before must not pass for success now.
for port in "${cluster_ports[@]:0:3}"; do
    redis-cli -p "$port" flushall >/dev/null
done
LD_PRELOAD=$PWD/$preload "$work/demo" 127.0.0.1 "$first"

say "Which master holds which keys, as they say themselves"
held=$(keys_of_each_master)
echo "  $held"
[ "$held" = "b f | c g | a d e h" ]
