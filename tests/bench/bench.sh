#!/usr/bin/env bash
# What the library costs on top of hiredis, and what is switched on on top of that: one plain program
# (get_bench), as it is on one server, and with the library preloaded on a cluster of 3 masters.
#
#     tests/bench/bench.sh [BUILD-FOLDER [PART...]]      build/ unless named; with tests built in it
#
# The parts are: hiredis, bytes, statistics, mirror, policies; all of them unless named. doc/bench.md tells
# how to read what is printed. ROUNDS=N is how many times what takes time is run.
source "$(dirname "$0")/lib.sh"
rounds=${ROUNDS:-15}
needs strace

median() {
    sort -n | awk '{n[NR] = $1} END {print n[int((NR + 1) / 2)]}'
}

# pair WORLD WORLD WAY COUNT: both turn by turn, and the first of them in turn. Leaves what both
# printed in one line for each round.
pair() {
    local one=$1 other=$2 round
    shift 2
    rm -f "$work/one" "$work/other"
    for round in $(seq "$rounds"); do
        [ $((round % 2)) = 0 ] || run "$one" -- "$@" >>"$work/one"
        run "$other" -- "$@" >>"$work/other"
        [ $((round % 2)) = 1 ] || run "$one" -- "$@" >>"$work/one"
    done
    paste -d' ' "$work/one" "$work/other" >"$work/pairs"
}

# --- the table ---

print_row() {
    printf '| %-62s | %10s | %10s | %16s | %-25s |\n' "$@"
}

table() {
    echo
    print_row "$@"
    print_row "$(printf -- '-%.0s' {1..62})" ---------: ---------: ---------------: ---
}

row_difference() {
    local what=$1 one=$2 other=$3 budget=$4
    print_row "$what" "$one" "$other" "$(difference "$one" "$other")" "$budget"
}

# row_pair WHAT COLUMN BUDGET: medians, and the median of the rounds' ratios: what else the machine does
# changes from round to round, and the two of one round have much of it in common.
row_pair() {
    local what=$1 column=$2 budget=$3 columns
    columns=$(awk 'NR == 1 { print NF / 2 }' "$work/pairs")
    print_row "$what" \
        "$(awk -v c="$column" '{ print $c }' "$work/pairs" | median)" \
        "$(awk -v c="$((column + columns))" '{ print $c }' "$work/pairs" | median)" \
        "$(awk -v a="$column" -v b="$((column + columns))" '{ printf "%.3f\n", $b / $a }' \
            "$work/pairs" | median)x" "$budget"
}

WALL=1 PROCESSOR=2 MEDIAN=3

# --- the library ---

compare_counts() {
    local counter=$1 way=$2 what=$3 budget=$4
    row_difference "$what" "$(per_command "$counter" plain "$way")" \
        "$(per_command "$counter" routed "$way")" "$budget"
}

compare_times() {
    local world=$1 way=$2 count=$3 what=$4 budget=$5
    pair plain "$world" "$way" "$count"
    row_pair "$what: wall, ns" $WALL "$budget"
    row_pair "$what: processor, ns" $PROCESSOR ""
}

part_hiredis() {
    table "per GET" hiredis redisroute more budget
    compare_counts system_calls argv "system calls, depth 1" "2 in all"
    compare_counts instructions argv "instructions, depth 1, redisCommandArgv" "+300"
    compare_counts instructions format "instructions, depth 1, redisCommand" "+300"
    compare_counts own_instructions format "… but for those of the C library" ""
    compare_counts instructions pipeline "instructions, pipeline of 100 over 3 shards" "+300"
    compare_counts instructions async "instructions, depth 1, libevent" ""
    compare_counts system_calls pipeline "system calls, pipeline of 100 over 3 shards" ""
    compare_counts allocations argv "allocations, depth 1" "0"
    compare_counts allocations pipeline "allocations, pipeline of 100 over 3 shards" "0"
    compare_times routed argv 20000 "depth 1" ""
    compare_times routed pipeline 200000 "pipeline of 100 over 3 shards" "1.0x"
    compare_times routed async 20000 "depth 1, libevent" "1.07x"
    settings=(REDISROUTE_DESCRIPTOR=socket)
    compare_times set async 20000 "depth 1, libevent, descriptor: socket" ""
    compare_times passed argv 20000 "depth 1, a server that is no cluster" ""
    compare_times passed pipeline 200000 "pipeline of 100, a server that is no cluster" ""
    row_difference "bytes of heap of an idle context, with 3 links" \
        "$(run plain -- idle 300 | cut -d' ' -f1)" "$(run routed -- idle 300 | cut -d' ' -f1)" \
        "+20480 (8 KiB + 4 a link)"
}

# --- byte sessions, by the measure of a bare socket to one server ---

compare_bytes() {
    local counter=$1 bare=$2 way=$3
    shift 3
    row_difference "$1" "$(per_command "$counter" plain "$bare")" \
        "$(per_command "$counter" linked "$way")" "$2"
}

part_bytes() {
    local program=$build/tests/bench/bytes_bench
    table "byte session, per GET" socket redisroute more budget
    compare_bytes instructions bare wait "instructions, depth 1, redisRouteReadWait" ""
    compare_bytes instructions bare poll "instructions, depth 1, poll and redisRouteRead" ""
    compare_bytes instructions bare_pipeline pipeline "instructions, pipeline of 100 over 3 shards" ""
    compare_bytes system_calls bare wait "system calls, depth 1, redisRouteReadWait" "+0"
    compare_bytes system_calls bare poll "system calls, depth 1, poll and redisRouteRead" "+0"
    compare_bytes system_calls bare_pipeline pipeline "system calls, pipeline of 100 over 3 shards" ""
}

# --- what is switched on: routed without and with $settings ---

# row_instructions WHAT WAY BUDGET: without those of malloc, which differ from run to run; and what
# hundredth of all that makes.
row_instructions() {
    local what=$1 way=$2 budget=$3 off on all
    off=$(per_command own_instructions routed "$way")
    on=$(per_command own_instructions set "$way")
    all=$(per_command instructions routed "$way")
    print_row "$what" "$off" "$on" "$(awk -v off="$off" -v on="$on" -v all="$all" \
        'BEGIN { printf "%+.2f (%.2f%%)", on - off, 100 * (on - off) / all }')" "$budget"
}

part_statistics() {
    settings=(REDISROUTE_COMMAND_STATS=1)
    table "statistics of commands, per GET" off on more budget
    row_instructions "instructions, depth 1, redisCommandArgv" argv "1%"
    row_instructions "instructions, depth 1, redisCommand" format "1%"
    row_instructions "instructions, pipeline of 100 over 3 shards" pipeline "1%"
    row_instructions "instructions, depth 1, libevent" async "1%"
    pair routed set argv 10000
    row_pair "depth 1: wall, ns" $WALL ""
    pair routed set pipeline 100000
    row_pair "pipeline of 100 over 3 shards: wall, ns" $WALL ""
}

part_mirror() {
    settings=(REDISROUTE_MIRROR="127.0.0.1:$plain_port")
    table "mirrored to one server, reads too" off on more budget
    row_instructions "instructions, GET, depth 1" argv ""
    row_instructions "instructions, GET, pipeline of 100 over 3 shards" pipeline ""
    row_difference "system calls of the program's thread, GET, depth 1" \
        "$(per_command system_calls routed argv)" "$(per_command system_calls set argv)" "+0"
    pair routed set set 5000
    row_pair "SETs one behind the other: median latency, ns" $MEDIAN "1.03x"
    row_pair "SETs one behind the other: processor, all threads, ns" $PROCESSOR ""
    pair routed set paced 500
    row_pair "a SET each millisecond: median latency, ns" $MEDIAN "1.03x"
    row_pair "a SET each millisecond: processor, all threads, ns" $PROCESSOR ""
}

# The other policies by MASTER's measure, on a cluster with a replica of each master.
part_policies() {
    local policy
    start_cluster 3 1
    for policy in PREFER_MASTER REPLICA PREFER_REPLICA ANY AZ_AFFINITY \
        AZ_AFFINITY_REPLICAS_AND_PRIMARY; do
        settings=(REDISROUTE_READ_POLICY=$policy REDISROUTE_ZONE=a)
        table "$policy, per GET" MASTER "" more budget
        row_instructions "instructions, depth 1, redisCommandArgv" argv ""
        row_instructions "instructions, pipeline of 100 over 3 shards" pipeline ""
        row_difference "system calls of the program's thread, depth 1" \
            "$(per_command system_calls routed argv)" "$(per_command system_calls set argv)" "+0"
        pair routed set argv 5000
        row_pair "depth 1: wall, ns" $WALL ""
        pair routed set pipeline 50000
        row_pair "pipeline of 100 over 3 shards: wall, ns" $WALL ""
    done
}

start_server
start_cluster 3 0
parts=("${@:2}")
[ ${#parts[@]} -gt 0 ] || parts=(hiredis bytes statistics mirror policies)
for part in "${parts[@]}"; do
    "part_$part"
done
