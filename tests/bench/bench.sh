#!/usr/bin/env bash
# What the library costs on top of hiredis: one plain program (get_bench), as it is on one server, and
# with the library preloaded on a cluster of 3 masters, turn by turn in the same run.
#
#     tests/bench/bench.sh [BUILD-FOLDER]        build/ unless named; with tests built in it
#
# Instructions, system calls and allocations are exact: two runs that differ in nothing but the number
# of commands are subtracted, and starting and ending drop out. Times are medians of several rounds.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${1:-$root/build}
program=$build/tests/bench/get_bench
preload=$(echo "$build"/preload/libhiredis.so.*)
rounds=${ROUNDS:-9}

for needed in valgrind strace redis-server redis-cli "$program" "$build/tests/cluster_main"; do
    command -v "$needed" >/dev/null || { echo "missing: $needed" >&2; exit 1; }
done

work=$(mktemp -d)
server=
clean_up() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    exec {cluster_in}>&- || true
    wait
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

# --- servers ---

mkfifo "$work/cluster-input"
"$build/tests/cluster_main" 3 <"$work/cluster-input" >"$work/cluster-ports" &
exec {cluster_in}>"$work/cluster-input"

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
start_server
until [ -s "$work/cluster-ports" ]; do
    sleep 0.1
done
read -r cluster_port _ <"$work/cluster-ports"

# --- one program, two worlds ---

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
    passed) environment=(LD_PRELOAD="$preload") ;; # with the library, on the plain server
    set) port=$cluster_port environment=(LD_PRELOAD="$preload" "$setting") ;; # routed, and that said
    esac
    "${wrapper[@]}" env "${environment[@]}" "$program" "$port" "$@"
}

# per_command COUNTER WORLD WAY: how much one GET adds to what the counter counts.
per_command() {
    local counter=$1 world=$2 way=$3 few many count=2000
    few=$("$counter" "$world" "$way" $count)
    many=$("$counter" "$world" "$way" $((2 * count)))
    awk -v few="$few" -v many="$many" -v count=$count 'BEGIN {printf "%.2f", (many - few) / count}'
}

# Only of the program's own thread: that of the library sleeps in a system call of its own.
system_calls() {
    run "$1" strace -o "$work/calls" -- "$2" "$3" >/dev/null
    wc -l <"$work/calls"
}

instructions() {
    run "$1" valgrind --tool=callgrind --trace-children=yes --callgrind-out-file="$work/callgrind" \
        --log-file="$work/valgrind.%p" -- "$2" "$3" >/dev/null
    sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$work"/valgrind.* | tail -1
    rm -f "$work"/valgrind.* "$work"/callgrind*
}

allocations() {
    run "$1" valgrind --trace-children=yes --log-file="$work/valgrind.%p" -- "$2" "$3" >/dev/null
    sed -n 's/.*total heap usage: \([0-9,]*\) allocs.*/\1/p' "$work"/valgrind.* | tail -1 | tr -d ,
    rm -f "$work"/valgrind.*
}

median() {
    sort -n | awk '{n[NR] = $1} END {print n[int((NR + 1) / 2)]}'
}

# times WORLD WAY COUNT: medians of wall and processor time, both worlds turn by turn.
times() {
    local world=$1 way=$2 count=$3 _
    rm -f "$work"/times.*
    for _ in $(seq "$rounds"); do
        run plain -- "$way" "$count" >>"$work/times.plain"
        run "$world" -- "$way" "$count" >>"$work/times.$world"
    done
    for column in 1 2; do
        plain_time[column]=$(cut -d' ' -f$column "$work/times.plain" | median)
        library_time[column]=$(cut -d' ' -f$column "$work/times.$world" | median)
    done
}

# --- the table ---

print_row() {
    printf '| %-58s | %10s | %10s | %9s | %-25s |\n' "$@"
}

row_difference() {
    local what=$1 plain=$2 library=$3 budget=$4
    print_row "$what" "$plain" "$library" \
        "$(awk -v a="$plain" -v b="$library" 'BEGIN {printf "%+.2f", b - a}')" "$budget"
}

row_ratio() {
    local what=$1 column=$2 budget=$3
    print_row "$what" "${plain_time[column]}" "${library_time[column]}" \
        "$(awk -v a="${plain_time[column]}" -v b="${library_time[column]}" \
            'BEGIN {printf "%.3fx", b / a}')" "$budget"
}

compare_counts() {
    local counter=$1 way=$2 what=$3 budget=$4
    row_difference "$what" "$(per_command "$counter" plain "$way")" \
        "$(per_command "$counter" routed "$way")" "$budget"
}

compare_times() {
    local world=$1 way=$2 count=$3 what=$4 budget=$5
    times "$world" "$way" "$count"
    row_ratio "$what: wall, ns" 1 "$budget"
    row_ratio "$what: processor, ns" 2 ""
}

plain_time=() library_time=()
print_row "per GET" hiredis redisroute more budget
print_row "$(printf -- '-%.0s' {1..58})" ---------: ---------: --------: ---
compare_counts system_calls argv "system calls, depth 1" "2 in all"
compare_counts instructions argv "instructions, depth 1, redisCommandArgv" "+300"
compare_counts instructions format "instructions, depth 1, redisCommand" "+300"
compare_counts instructions pipeline "instructions, pipeline of 100 over 3 shards" "+300"
compare_counts system_calls pipeline "system calls, pipeline of 100 over 3 shards" ""
compare_counts allocations argv "allocations, depth 1" "0"
compare_counts allocations pipeline "allocations, pipeline of 100 over 3 shards" "0"
compare_times routed argv 20000 "depth 1" ""
compare_times routed pipeline 200000 "pipeline of 100 over 3 shards" "1.0x"
compare_times routed async 20000 "depth 1, libevent" "1.07x"
compare_times passed argv 20000 "depth 1, a server that is no cluster" ""
compare_times passed pipeline 200000 "pipeline of 100, a server that is no cluster" ""
compare_counts instructions async "instructions, depth 1, libevent" ""
row_difference "bytes of heap of an idle context, with 3 links" \
    "$(run plain -- idle 300 | cut -d' ' -f1)" "$(run routed -- idle 300 | cut -d' ' -f1)" \
    "+20480 (8 KiB + 4 a link)"

# --- what is switched on ---

# compare_setting WHAT BUDGET: as routed, without and with $setting.
compare_setting() {
    local way
    for way in argv pipeline; do
        row_difference "instructions, $way, $1" "$(per_command instructions routed $way)" \
            "$(per_command instructions set $way)" "$2"
    done
    row_difference "system calls, argv, $1" "$(per_command system_calls routed argv)" \
        "$(per_command system_calls set argv)" "+0"
}

echo
print_row "per GET" off on more budget
print_row "$(printf -- '-%.0s' {1..58})" ---------: ---------: --------: ---
setting=REDISROUTE_COMMAND_STATS=1
compare_setting "statistics of commands" "1%"
setting=REDISROUTE_MIRROR=127.0.0.1:$plain_port
compare_setting "mirrored, reads too" ""
for policy in PREFER_MASTER PREFER_REPLICA ANY; do
    setting=REDISROUTE_READ_POLICY=$policy
    compare_setting "$policy, without replicas" ""
done
