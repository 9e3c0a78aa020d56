#!/usr/bin/env bash
# Both libraries export every name of hiredis and those of our header, and nothing else.
source "$(dirname "$0")/lib.sh"

{
    defined_names "${HIREDIS_LIBRARY:-$HIREDIS_ARCHIVE}"
    grep -o 'redisRoute[A-Za-z0-9]*(' "$REDISROUTE_SOURCE"/include/redisroute/*.h -h | tr -d '('
} | sort -u >"$work/expected"
[ "$(wc -l <"$work/expected")" -gt 50 ] || fail "hiredis has more names than $(cat "$work/expected")"

for library in "$REDISROUTE_LIBRARY" "$REDISROUTE_PRELOAD"; do
    defined_names "$library" >"$work/actual"
    diff "$work/expected" "$work/actual" ||
        fail "$library: a name is missing (<) or too much (>)"
done

soname() {
    readelf -d "$1" | sed -n 's/.*soname: \[\(.*\)\]/\1/p'
}
[ "$(soname "$REDISROUTE_LIBRARY")" = libredisroute.so.0 ] ||
    fail "the SONAME of $REDISROUTE_LIBRARY is $(soname "$REDISROUTE_LIBRARY")"
if [ -n "$HIREDIS_SSL_LIBRARY" ]; then # hiredis 1.x with TLS
    preload_ssl=$(dirname "$REDISROUTE_PRELOAD")/$(soname "$HIREDIS_SSL_LIBRARY")
    defined_names "$HIREDIS_SSL_LIBRARY" >"$work/expected"
    for library in "$(dirname "$REDISROUTE_LIBRARY")/libredisroute_ssl.so" "$preload_ssl"; do
        defined_names "$library" >"$work/actual"
        diff "$work/expected" "$work/actual" ||
            fail "$library: a name is missing (<) or too much (>)"
    done
    [ "$(soname "$preload_ssl")" = "$(soname "$HIREDIS_SSL_LIBRARY")" ] ||
        fail "the SONAME of $preload_ssl is $(soname "$preload_ssl")"
fi
if [ -n "$HIREDIS_LIBRARY" ]; then
    [ "$(soname "$REDISROUTE_PRELOAD")" = "$(soname "$HIREDIS_LIBRARY")" ] ||
        fail "the SONAME of $REDISROUTE_PRELOAD is $(soname "$REDISROUTE_PRELOAD")"
fi
