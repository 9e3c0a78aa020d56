#!/usr/bin/env bash
# One small hiredis program on a Redis Cluster, without and with redisroute.
# Installs what is missing from Debian's packages (as root or with sudo), builds the library, and
# leaves nothing running.
set -euo pipefail
cd "$(dirname "$0")/.."
source examples/cluster.sh

packages=(cmake make gcc pkg-config libhiredis-dev libyaml-dev libssl-dev redis-server redis-tools)

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
    # The programs are built against hiredis, as everywhere; they do not know of redisroute.
    local program
    for program in demo loop; do
        cc examples/$program.c $(pkg-config --cflags --libs hiredis) -o "$work/$program"
    done
    echo "  $preload"
}

keys_of_each_master() {
    local port line=
    for port in "${cluster_ports[@]:0:3}"; do
        line+="${line:+ | }$(redis-cli -p "$port" keys '*' | sort | paste -sd' ')"
    done
    echo "$line"
}

# --- evidence: what the nodes themselves say that they execute ---

monitor_all() {
    local port
    for port in "${cluster_ports[@]}" "$mirror_port"; do
        redis-cli -p "$port" monitor >"$work/monitor.$port" &
        monitors+=($!)
        cluster_wait_until grep -q OK "$work/monitor.$port"
    done
}

# executed PORT COMMAND KEY: how often. What a replica hears from its master is there as well.
executed() {
    grep -ciF "\"$2\" \"$3\"" "$work/monitor.$1" || true
}

has_executed_more() {
    [ "$(executed "$1" "$2" "$3")" -gt "$4" ]
}

# Servers name a replica once they have heard how far it is.
are_replicas_named() {
    local port other
    for port in "${cluster_ports[@]}"; do
        for other in "${cluster_ports[@]:3}"; do
            redis-cli -p "$port" cluster slots | grep -qx "$other" || return
        done
    done
}

replica_of() {
    local port
    for port in "${cluster_ports[@]:3}"; do
        [ "$(redis-cli -p "$port" role | sed -n 3p)" != "$1" ] || echo "$port"
    done
}

start_mirror() {
    mirror_port=$(cluster_free_port)
    "$cluster_server" --port "$mirror_port" --bind 127.0.0.1 --dir "$work" --save '' --appendonly no \
        >"$work/mirror.log" &
    mirror=$!
    cluster_wait_until redis-cli -p "$mirror_port" ping
}

# As tools write files that others read: in one step.
write_config() {
    cat >"$work/config.new" <<C
listeners:
- address: 127.0.0.1:$first
  redis_proxy:
    settings: {op_timeout: 5s, read_policy: $1}
    prefix_routes:
      catch_all_route:
        cluster: the-cluster
        request_mirror_policy:
        - {cluster: the-mirror, exclude_read_commands: true}
clusters:
- {name: the-cluster, endpoints: [127.0.0.1:$first]}
- {name: the-mirror, endpoints: [127.0.0.1:$mirror_port]}
C
    mv "$work/config.new" "$work/config.yaml"
}

clean_up() {
    local pid
    for pid in "${monitors[@]}" $mirror $loop; do
        kill "$pid" 2>/dev/null || true
    done
    cluster_stop || true
    rm -rf "$work"
}

work=$(mktemp -d)
monitors=() mirror='' loop=''
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

say "A configuration file: reads from replicas, writes copied to a plain server"
start_mirror
cluster_wait_until are_replicas_named
write_config REPLICA
sed 's/^/  /' "$work/config.yaml"
monitor_all
export REDISROUTE_CONFIG=$work/config.yaml
LD_PRELOAD=$PWD/$preload "$work/demo" 127.0.0.1 "$first"
echo "  … and nine times more"
for _ in {2..10}; do
    LD_PRELOAD=$PWD/$preload "$work/demo" 127.0.0.1 "$first" >/dev/null
done
replica=$(replica_of "$first")
cluster_wait_until has_executed_more "$mirror_port" SET h 9
cluster_wait_until has_executed_more "$replica" GET b 9
cluster_wait_until has_executed_more "$first" SET b 9
echo "  GET b, as MONITOR shows it: $(executed "$first" GET b) at its master, $(executed "$replica" GET b) at the replica"
echo "  SET b: $(executed "$first" SET b) at its master"
echo "  the mirror: $(grep -ci '"SET"' "$work/monitor.$mirror_port") SET, $(grep -ci '"GET"' "$work/monitor.$mirror_port" || true) GET"
[ "$(executed "$first" GET b) $(executed "$replica" GET b) $(executed "$first" SET b)" = "0 10 10" ]
[ "$(grep -ci '"SET"' "$work/monitor.$mirror_port")" = 80 ]
[ "$(grep -ci '"GET"' "$work/monitor.$mirror_port")" = 0 ]

say "The file changes while a program runs: REPLICA becomes MASTER"
LD_PRELOAD=$PWD/$preload "$work/loop" 127.0.0.1 "$first" f >"$work/loop.log" &
loop=$!
cluster_wait_until has_executed_more "$replica" GET f 10
echo "  GET f until now: $(executed "$first" GET f) at its master, $(executed "$replica" GET f) at the replica"
write_config MASTER
cluster_wait_until has_executed_more "$first" GET f 10
at_replica=$(executed "$replica" GET f) at_master=$(executed "$first" GET f)
cluster_wait_until has_executed_more "$first" GET f $((at_master + 10))
echo "  then: $at_master at its master; ten more later still $(executed "$replica" GET f) at the replica"
[ "$(executed "$replica" GET f)" = "$at_replica" ]
kill "$loop"
wait "$loop" || { cat "$work/loop.log" && exit 1; }
loop=
echo "  the program: $(cat "$work/loop.log")"
