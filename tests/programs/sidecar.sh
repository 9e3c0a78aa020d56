#!/usr/bin/env bash
# examples/sidecar.c, built as a user builds it: clients that know nothing of clusters dial it.
source "$(dirname "$0")/lib.sh"
need redis-benchmark python3 cc
library=${REDISROUTE_LIBRARY:-$root/build/libredisroute.so}

cc -Wall -Wextra -Werror -O1 -I"$root/include" "$root/examples/sidecar.c" "$library" \
    -Wl,-rpath,"$(dirname "$library")" -o "$work/sidecar" || fail "does not compile"
"$work/sidecar" >"$work/usage" 2>&1 && fail "starts without arguments"
grep -q '^usage: ' "$work/usage" || fail "does not say how it is used"
"$work/sidecar" 99999 localhost 1 >/dev/null 2>&1 && fail "takes a port that cannot be"

start_cluster

# start_sidecar NAME PORT: in front of that node or server; its port in $front, its process in $sidecar.
start_sidecar() {
    front=$(free_port)
    setpriv --pdeathsig TERM "$work/sidecar" "$front" "$host" "$2" >"$work/$1" 2>&1 </dev/null &
    sidecar=$!
    started+=("$sidecar")
    wait_until is_open "$front" || fail "does not listen: $(cat "$work/$1")"
}
start_sidecar output "$port"

say() {
    redis-cli -h "$host" -p "$front" "$@"
}

for i in $(seq 30); do
    [ "$(say set "side:$i" "value-$i")" = OK ] || fail "SET $i"
    expect_value "side:$i" "value-$i"
done
expect_spread
[ "$(say mget side:3 none side:1 | paste -sd,)" = "value-3,,value-1" ] || fail "MGET"
[ "$(say --scan --pattern 'side:*' | sort -u | wc -l)" = 30 ] || fail "a scan does not see all keys"
[ "$(say info | tr -d '\r' | sed -n 's/^db0:keys=\([0-9]*\),.*/\1/p')" = 30 ] || fail "INFO"
[ "$(printf 'multi\nset {t}a 1\nincr {t}a\nexec\n' | say | tail -1)" = 2 ] || fail "MULTI"

# benchmark OPTION...: with 50 clients, and no error.
benchmark() {
    redis-benchmark -h "$host" -p "$front" -q -c 50 -r 1000 -t set,get,incr,lpush,mset "$@" \
        >"$work/benchmark" 2>&1 </dev/null || fail "redis-benchmark: $(cat "$work/benchmark")"
    [ "$(grep -c 'requests per second' "$work/benchmark")" -ge 5 ] ||
        fail "$(cat "$work/benchmark")"
    grep -qi 'error' "$work/benchmark" && fail "redis-benchmark: $(cat "$work/benchmark")"
}
benchmark -n 20000 -P 16
benchmark -n 5000

clients=$root/tests/programs/sidecar_clients.py
python3 "$clients" "$front" "$sidecar" "${ports[@]}" || fail "see above"
[ "$(say ping)" = PONG ] || fail "does not answer any more: $(cat "$work/output")"

# Who still waits for a reply is given some seconds.
has_ended() {
    ! kill -0 "$sidecar"
}
kill "$sidecar"
wait_until has_ended || fail "SIGTERM does not end it"
wait "$sidecar" || fail "ended with $?: $(cat "$work/output")"

# In front of a server that is no cluster.
plain=$(free_port)
setpriv --pdeathsig TERM redis-server --port "$plain" --save '' --dir "$work" >"$work/plain" &
started+=("$!")
wait_until ask "$plain" ping || fail "no server: $(cat "$work/plain")"
start_sidecar output-plain "$plain"
python3 "$clients" "$front" "$sidecar" "$plain" || fail "in front of one server: see above"
[ "$(say ping)" = PONG ] || fail "does not answer any more: $(cat "$work/output-plain")"
pass "redis-cli, redis-benchmark, half-closed and slow clients, thousands of connections"
