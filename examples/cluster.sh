#!/usr/bin/env bash
# A Redis Cluster of 3 masters and 3 replicas on free ports of the loopback address, to play with:
#
#     ./examples/cluster.sh       starts one, prints its ports, stops it on Ctrl-C
#
# demo.sh sources this file for the functions.

cluster_server=${TEST_SERVER:-redis-server} # or valkey-server
cluster_folder=
cluster_pids=()
cluster_ports=() # the three masters in the order of their slots, then the replicas

cluster_port_is_free() {
    ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# Every node needs two ports: one for clients, and the one 10000 above for the other nodes.
cluster_free_port() {
    local port
    while :; do
        port=$((11000 + RANDOM % 11000))
        [[ " ${cluster_ports[*]} " == *" $port "* ]] && continue
        cluster_port_is_free "$port" && cluster_port_is_free $((port + 10000)) && break
    done
    echo "$port"
}

cluster_start_node() {
    local port=$1
    mkdir "$cluster_folder/$port"
    "$cluster_server" --port "$port" --bind 127.0.0.1 --dir "$cluster_folder/$port" \
        --cluster-enabled yes --save '' --appendonly no --repl-diskless-sync-delay 0 \
        >"$cluster_folder/$port/log" 2>&1 &
    cluster_pids+=($!)
}

cluster_wait_until() {
    local _
    for _ in {1..300}; do
        "$@" >/dev/null 2>&1 && return
        sleep 0.1
    done
    echo "never came true: $*" >&2
    return 1
}

cluster_node_is_well() {
    redis-cli -p "$1" cluster info | grep -q 'cluster_state:ok' &&
        [ "$(redis-cli -p "$1" cluster nodes | grep -c ' connected')" = 6 ] &&
        [ "$(redis-cli -p "$1" cluster nodes | grep -c slave)" = 3 ]
}

cluster_start() {
    local port
    cluster_folder=$(mktemp -d)
    for _ in 1 2 3 4 5 6; do
        port=$(cluster_free_port)
        cluster_ports+=("$port")
        cluster_start_node "$port"
    done
    for port in "${cluster_ports[@]}"; do
        cluster_wait_until redis-cli -p "$port" ping || return
    done
    redis-cli --cluster create "${cluster_ports[@]/#/127.0.0.1:}" \
        --cluster-replicas 1 --cluster-yes >"$cluster_folder/create.log" || return
    for port in "${cluster_ports[@]}"; do
        cluster_wait_until cluster_node_is_well "$port" || return
    done
}

cluster_stop() {
    [ ${#cluster_pids[@]} = 0 ] || kill "${cluster_pids[@]}" 2>/dev/null
    wait "${cluster_pids[@]}" 2>/dev/null
    [ -z "$cluster_folder" ] || rm -rf "$cluster_folder"
    cluster_pids=()
    cluster_folder=
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    trap cluster_stop EXIT
    trap 'exit 130' INT TERM HUP
    cluster_start || exit 1
    echo "masters:  ${cluster_ports[*]:0:3}"
    echo "replicas: ${cluster_ports[*]:3}"
    echo "Ctrl-C stops the cluster."
    wait
fi
