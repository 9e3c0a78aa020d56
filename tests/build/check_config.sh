#!/usr/bin/env bash
# examples/check-config.c, built as a user builds it: says what the library would say.
source "$(dirname "$0")/lib.sh"

"$CC" -Wall -Wextra -Werror -I"$REDISROUTE_SOURCE/include" "$REDISROUTE_SOURCE/examples/check-config.c" \
    "$REDISROUTE_LIBRARY" -Wl,-rpath,"$(dirname "$REDISROUTE_LIBRARY")" -o "$work/check-config"
fixtures=$REDISROUTE_SOURCE/tests/config
"$work/check-config" "$fixtures/proxy.yaml" "$fixtures/cluster.yaml" >"$work/said" ||
    fail "Istio's documents are refused"
grep -q ': good$' "$work/said" || fail "said $(cat "$work/said")"
"$work/check-config" "$fixtures/own.yaml" >/dev/null || fail "our own form is refused"
if "$work/check-config" "$fixtures/proxy.yaml" 2>"$work/said"; then
    fail "takes a listener without its cluster"
fi
grep -q '^.*/proxy.yaml:[0-9]*:[0-9]*: .*catch_all_route.cluster: there is no cluster "custom-redis-cluster"' \
    "$work/said" || fail "said $(cat "$work/said")"
if "$work/check-config" "$work/none.yaml" 2>"$work/said"; then
    fail "takes a file that is not there"
fi
[ "$(cat "$work/said")" = "$work/none.yaml: No such file or directory" ] || fail "said $(cat "$work/said")"
