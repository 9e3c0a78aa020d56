#!/usr/bin/env bash
# hiredis 1.x exports its allocators as data, of which a program that is no PIE has the only copy: the
# library uses that one.
source "$(dirname "$0")/lib.sh"

name=hiredisAllocFns
if ! defined_names "${HIREDIS_LIBRARY:-$HIREDIS_ARCHIVE}" | grep -qx $name; then
    for library in "$REDISROUTE_LIBRARY" "$REDISROUTE_PRELOAD"; do
        ! defined_names "$library" | grep -qx $name || fail "$library has $name, hiredis does not"
    done
    exit 0
fi

cat >"$work/app.c" <<'END'
#include <hiredis/alloc.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>

static int taken, given;

static void *take(size_t size)
{
    taken++;
    return malloc(size);
}

static void give(void *memory)
{
    given += memory != NULL;
    free(memory);
}

int main(void)
{
    char *command;
    hiredisAllocFuncs *mine = &hiredisAllocFns;

    mine->mallocFn = take;
    mine->freeFn = give;
    if (redisFormatCommand(&command, "PING") != 14)
        return 1;
    hi_free(command);
    hi_free(hi_malloc(1));
    printf("%d %d\n", taken, given);
    return taken < 2 || given < 2;
}
END

# expect_shared PRELOAD PROGRAM
expect_shared() {
    LD_PRELOAD=$1 "$2" >"$work/counts" || fail "$2 with '$1': $(cat "$work/counts")"
}

build() {
    "$CC" -Wall -Werror -O2 "${@:2}" -I"$HIREDIS_INCLUDE" "$work/app.c" -o "$work/$1" ${library:+"$library"}
}

library=$HIREDIS_LIBRARY
if [ -n "$library" ]; then
    build copied -no-pie -fno-pic
    readelf -rW "$work/copied" | grep -q "_COPY .*$name" || fail "$name is not copied into the program"
    build pie -pie -fPIE
    for program in copied pie; do
        expect_shared '' "$work/$program" # hiredis itself
        expect_shared "$REDISROUTE_PRELOAD" "$work/$program"
    done
fi
library=$REDISROUTE_LIBRARY
build linked -no-pie -fno-pic "-Wl,-rpath,$(dirname "$library")"
readelf -rW "$work/linked" | grep -q "_COPY .*$name" || fail "$name is not copied into the program"
expect_shared '' "$work/linked"
