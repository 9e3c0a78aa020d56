# What the scripts of this folder have in common: a cluster and a plain server, get_bench in front of
# either, and what can be counted of it. $1 of the script that sources this is the folder of the build.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${1:-$root/build}
program=$build/tests/bench/get_bench
preload=$(echo "$build"/preload/libhiredis.so.*)

# needs COMMAND...
needs() {
    local needed
    for needed in redis-server redis-cli valgrind "$program" "$build/tests/cluster_main" "$@"; do
        command -v "$needed" >/dev/null || { echo "missing: $needed" >&2; exit 1; }
    done
}

work=$(mktemp -d)
server= cluster_in=
clean_up() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    [ -z "$cluster_in" ] || exec {cluster_in}>&-
    wait
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

# --- servers ---

start_server() {
    while :; do
        plain_port=$((11000 + RANDOM % 20000))
        redis-server --port $plain_port --bind 127.0.0.1 --save '' --appendonly no \
            --dir "$work" >"$work/log" 2>&1 &
        server=$!
        for _ in {1..100}; do
            kill -0 $server 2>/dev/null || break # the port was taken
            [ "$(redis-cli -p $plain_port ping 2>/dev/null)" != PONG ] || return 0
            sleep 0.1
        done
    done
}

# start_cluster MASTERS REPLICAS: in place of the one before, if there is one.
start_cluster() {
    local cluster
    [ -z "$cluster_in" ] || exec {cluster_in}>&-
    rm -f "$work"/cluster-*
    mkfifo "$work/cluster-input"
    "$build/tests/cluster_main" "$@" <"$work/cluster-input" >"$work/cluster-ports" &
    cluster=$!
    exec {cluster_in}>"$work/cluster-input"
    until [ -s "$work/cluster-ports" ]; do
        kill -0 $cluster || exit 1
        sleep 0.1
    done
    read -r cluster_port _ <"$work/cluster-ports"
}

# --- one program, several worlds ---

# run WORLD WRAPPER... -- WAY COUNT
run() {
    local world=$1 wrapper=() port=$plain_port environment=()
    shift
    while [ "$1" != -- ]; do
        wrapper+=("$1")
        shift
    done
    shift
    case $world in
    routed) port=$cluster_port environment=(LD_PRELOAD="$preload") ;;
    linked) port=$cluster_port ;; # it is linked with the library
    passed) environment=(LD_PRELOAD="$preload") ;; # with the library, on the plain server
    set) port=$cluster_port environment=(LD_PRELOAD="$preload" "${settings[@]}") ;; # routed, and these said
    esac
    "${wrapper[@]}" env "${environment[@]}" "$program" "$port" "$@"
}

# Instructions, system calls and allocations are exact: two runs that differ in nothing but the number
# of commands are subtracted, and starting and ending drop out.
#
# per_command COUNTER WORLD WAY: how much one GET adds to what the counter counts.
per_command() {
    local counter=$1 world=$2 way=$3 few many count=6000
    # Once a second links are looked at before they are used, and a whole pipeline goes the long way.
    [ "$way" != pipeline ] || count=20000
    few=$("$counter" "$world" "$way" $count)
    many=$("$counter" "$world" "$way" $((2 * count)))
    awk -v few="$few" -v many="$many" -v count=$count 'BEGIN {printf "%.2f", (many - few) / count}'
}

difference() {
    awk -v from="$1" -v to="$2" 'BEGIN { printf "%+.2f", to - from }'
}

# Only of the program's own thread: that of the library sleeps in a system call of its own.
system_calls() {
    run "$1" strace -o "$work/calls" -- "$2" "$3" >/dev/null
    wc -l <"$work/calls"
}

# callgrind WORLD WAY COUNT: leaves what it saw in $work/callgrind.
callgrind() {
    run "$1" valgrind --tool=callgrind --trace-children=yes --callgrind-out-file="$work/callgrind" \
        --log-file="$work/valgrind" -- "$2" "$3" >/dev/null
}

instructions() {
    callgrind "$@"
    sed -n 's/^summary: //p' "$work/callgrind"
}

# Those of hiredis and of the library with hiredis inside, without those of malloc, which depend on
# what else the heap has seen: the same in every run.
own_instructions() {
    callgrind "$@"
    awk '
        /^c?ob=/ { # an object has its name where it is first spoken of
            match($0, /\([0-9]+\)/)
            id = substr($0, RSTART, RLENGTH)
            if (NF > 1) name[id] = $2
            if (/^ob=/) object = id
        }
        /^calls=/ { getline; next } # what is called has lines of its own
        /^[-+*0-9]/ && NF > 1 && name[object] ~ /libhiredis/ { sum += $NF }
        END { print sum }' "$work/callgrind"
}

allocations() {
    run "$1" valgrind --trace-children=yes --log-file="$work/valgrind" -- "$2" "$3" >/dev/null
    sed -n 's/.*total heap usage: \([0-9,]*\) allocs.*/\1/p' "$work/valgrind" | tr -d ,
}
