#!/usr/bin/env bash
# Where there is no hiredis archive, CMake says what to install or which option names one.
source "$(dirname "$0")/lib.sh"

refuses() {
    local expected=$1
    shift
    rm -rf "$work/build"
    ! cmake -S "$REDISROUTE_SOURCE" -B "$work/build" "$@" >"$work/log" 2>&1 ||
        fail "configured with $*"
    # CMake breaks its lines where it likes.
    tr -s ' \n' ' ' <"$work/log" | grep -qF -- "$expected" ||
        fail "'$expected' is not in: $(cat "$work/log")"
}

refuses "REDISROUTE_HIREDIS_ARCHIVE: there is no file '/nonexistent/libhiredis.a'." \
    -DREDISROUTE_HIREDIS_ARCHIVE=/nonexistent/libhiredis.a
refuses "no hiredis sources in '$work'" -DREDISROUTE_HIREDIS_SOURCE="$work"

# A hiredis whose insides nobody has looked at.
mkdir "$work/newer"
printf '#define %s\n' 'HIREDIS_MAJOR 1' 'HIREDIS_MINOR 99' 'HIREDIS_SONAME 1.99' >"$work/newer/hiredis.h"
: >"$work/newer/hiredis.c"
refuses "redisroute does not know hiredis 1.99" -DREDISROUTE_HIREDIS_SOURCE="$work/newer"

nowhere=(-DCMAKE_FIND_ROOT_PATH=/nonexistent -DCMAKE_FIND_ROOT_PATH_MODE_LIBRARY=ONLY)
refuses "apt-get install libhiredis-dev" "${nowhere[@]}"
refuses "-DREDISROUTE_HIREDIS_ARCHIVE=/path/to/libhiredis.a" "${nowhere[@]}"
refuses "-DREDISROUTE_HIREDIS_SOURCE=/path/to/hiredis" "${nowhere[@]}"
