#!/usr/bin/env bash
# What the hot paths may cost, held to: fails where a GET takes more instructions than it may.
#
#     tests/bench/budget.sh [BUILD-FOLDER]       build/ unless named; with tests built in it
#
# Compared is what hiredis and the library take (own_instructions): the number is the same in every
# run, so that a limit needs no room but for other compilers.
source "$(dirname "$0")/lib.sh"
needs
start_server
start_cluster 3 0
over=0

# within WHAT NUMBER LIMIT
within() {
    local verdict
    verdict=$(awk -v number="$2" -v limit="$3" 'BEGIN { print number <= limit ? "within" : "OVER" }')
    printf '%-45s %8.2f  limit %8.2f  %s\n' "$1" "$2" "$3" "$verdict"
    [ "$verdict" = within ] || over=1
}

# compare WAY MORE: a routed command may take so much more than one of plain hiredis, and one hundredth
# of all that it takes when it is counted.
compare() {
    local way=$1 more=$2 plain off on all settings=(REDISROUTE_COMMAND_STATS=1)
    plain=$(per_command own_instructions plain "$way")
    off=$(per_command own_instructions routed "$way")
    on=$(per_command own_instructions set "$way")
    all=$(per_command instructions routed "$way")
    within "$way: routed" "$(difference "$plain" "$off")" "$more"
    within "$way: statistics" "$(difference "$off" "$on")" \
        "$(awk -v all="$all" 'BEGIN { printf "%.2f", all / 100 }')"
}

# compare_bytes BARE WAY MORE: a command of a byte session, by the measure of a bare socket.
compare_bytes() {
    local program=$build/tests/bench/bytes_bench
    within "byte session, $2" "$(difference "$(per_command instructions plain "$1")" \
        "$(per_command instructions linked "$2")")" "$3"
}

compare argv 390
compare format 390
compare pipeline 285
compare async 120
compare_bytes bare wait 785
compare_bytes bare poll 690
compare_bytes bare_pipeline pipeline 610
[ "$over" = 0 ]
