# What the tests of real programs share. Each script starts a cluster of 3 masters, runs one
# unmodified program of Debian's on it under LD_PRELOAD, and looks at the nodes for the data.
#
# Run by ctest, or by hand after a build:  tests/programs/webdis.sh
# REDISROUTE_PRELOAD and REDISROUTE_CLUSTER_MAIN name what was built; without them, build/ is taken.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
name=$(basename "$0" .sh)
preload=${REDISROUTE_PRELOAD:-$(echo "$root"/build/preload/libhiredis.so.*)}
cluster_main=${REDISROUTE_CLUSTER_MAIN:-$root/build/tests/cluster_main}

work=$(mktemp -d)
chmod 755 "$work" # for programs that drop their privileges
started=()
host=127.0.0.1
port=  # of the node that the program is given
ports=() # of all masters

fail() {
    echo "FAILED: $name: $*" >&2
    exit 1
}

# 77: the program is not installed, which is a failure for ctest, but one that says what to do.
need() {
    local program
    for program in redis-cli setpriv "$@"; do
        command -v "$program" >/dev/null || [ -e "$program" ] || {
            echo "FAILED: $name: $program is not here; tests/run.sh installs what the tests need" >&2
            exit 77
        }
    done
}

clean_up() {
    local pid
    for pid in "${started[@]}"; do
        kill "$pid" 2>/dev/null
    done
    for pid in "${started[@]}"; do
        ends_soon "$pid" || kill -9 "$pid" 2>/dev/null
    done
    # The cluster ends when its standard input does.
    [ -z "${cluster_in:-}" ] || exec {cluster_in}>&-
    wait 2>/dev/null
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

ends_soon() {
    local _
    for _ in {1..50}; do
        kill -0 "$1" 2>/dev/null || return 0
        sleep 0.1
    done
    return 1
}

# wait_until COMMAND...: until it succeeds, for at most a minute.
wait_until() {
    local end=$((SECONDS + 60))
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}

# --- the program under test ---

# with_library COMMAND...: in the foreground.
with_library() {
    LD_PRELOAD=$preload "$@"
}

# start COMMAND...: as a daemon that ends with this script; its output goes to $work/output. Leaves
# its process id in $daemon.
start() {
    LD_PRELOAD=$preload setpriv --pdeathsig TERM "$@" >"$work/output" 2>&1 </dev/null &
    daemon=$!
    started+=("$daemon")
}

is_alive() {
    kill -0 "$daemon" 2>/dev/null
}

# expect_library_in PID: the program has not slipped by, with the hiredis of the system.
expect_library_in() {
    grep -qF "$preload" "/proc/$1/maps" || fail "runs without the library"
    ! grep -q '/usr/lib.*libhiredis\.so' "/proc/$1/maps" || fail "has loaded the hiredis of the system"
}

is_open() {
    (exec 3<>"/dev/tcp/$host/$1") 2>/dev/null
}

# A port on which nobody listens, below the range of outgoing connections.
free_port() {
    local candidate
    while :; do
        candidate=$((11000 + RANDOM % 20000))
        is_open $candidate || break
    done
    echo $candidate
}

# --- the cluster ---

start_cluster() {
    local fifo=$work/cluster-input
    mkfifo "$fifo"
    "$cluster_main" 3 <"$fifo" >"$work/cluster-ports" 2>"$work/cluster-errors" &
    exec {cluster_in}>"$fifo"
    wait_until test -s "$work/cluster-ports" || fail "no cluster: $(cat "$work/cluster-errors")"
    read -ra ports <"$work/cluster-ports"
    port=${ports[0]}
}

# Asks one node, and does not follow it anywhere.
ask() {
    local at=$1
    shift
    redis-cli -h "$host" -p "$at" "$@"
}

# owner KEY: the port of the master that has to have it, by the cluster's own word.
owner() {
    local slot first last owner_port
    slot=$(ask "$port" cluster keyslot "$1")
    while read -r first last owner_port; do
        if [ "$first" -le "$slot" ] && [ "$slot" -le "$last" ]; then
            echo "$owner_port"
            return
        fi
    done < <(ask "$port" cluster slots | awk '
        /^[0-9]+$/ { n[++count] = $0; next }
        { if (count >= 2 && /\./) { pair = n[count - 1] " " n[count]; count = 0; want = 1; next } }
        { if (want && count == 1) { print pair, n[1]; want = 0; count = 0 } }')
}

# expect_value KEY VALUE: on the master that owns the key.
expect_value() {
    local value
    value=$(ask "$(owner "$1")" get "$1")
    [ "$value" = "$2" ] || fail "$1 is '$value' on its node instead of '$2'"
}

# expect_spread: every master has got some of the keys, so that nothing worked by luck.
expect_spread() {
    local at
    for at in "${ports[@]}"; do
        [ "$(ask "$at" dbsize)" -gt 0 ] || fail "the node on port $at has no key"
    done
}

pass() {
    echo "passed: $name: $*"
}
