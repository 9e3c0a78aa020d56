#!/usr/bin/env bash
# ccache with a remote cache in Redis: a process per compilation, blocking contexts with short time
# limits, many at the same moment.
source "$(dirname "$0")/lib.sh"
need ccache gcc
files=16

start_cluster
export CCACHE_DIR=$work/cache CCACHE_CONFIGPATH=/dev/null CCACHE_LOGFILE=$work/log
export CCACHE_REMOTE_STORAGE=redis://$host:$port CCACHE_REMOTE_ONLY=true CCACHE_NOHASHDIR=true
cd "$work" || exit 1
for i in $(seq $files); do
    echo "int function_$i(int x) { return x * $i + $$; }" >"file$i.c"
done

compile_all() {
    rm -f ./*.o
    seq $files | LD_PRELOAD=$preload xargs -P 8 -I{} ccache gcc -c file{}.c -o file{}.o ||
        fail "does not compile"
}

# The value of a counter of "ccache --print-stats".
counter() {
    ccache --print-stats | awk -v name="$1" '$1 == name {print $2}'
}

compile_all
expect_spread
stored=0
for at in "${ports[@]}"; do
    stored=$((stored + $(ask "$at" dbsize)))
done
[ $stored -ge $((2 * files)) ] || fail "$stored keys in the cache after $files compilations"
ccache --zero-stats >/dev/null
compile_all
[ "$(counter remote_storage_read_hit)" -ge $((2 * files)) ] ||
    fail "$(counter remote_storage_read_hit) hits: $(grep -i redis log | tail -3)"
[ "$(counter cache_miss)" = 0 ] || fail "$(counter cache_miss) files were compiled twice"
! grep -iE 'redis.*(error|fail)|MOVED' log || fail "errors in the log"
pass "$files compilations, all from the remote cache the second time"
