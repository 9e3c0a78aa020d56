#!/usr/bin/env bash
# What the library costs on top of hiredis: one plain program (get_bench), as it is on one server, and
# with the library preloaded on a cluster of 3 masters, turn by turn in the same run.
#
#     tests/bench/bench.sh [BUILD-FOLDER]        build/ unless named; with tests built in it
#
# Counts are exact; times are medians of several rounds.
source "$(dirname "$0")/lib.sh"
rounds=${ROUNDS:-9}
needs strace
start_servers

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
