#!/usr/bin/env bash
# webdis, an HTTP server: asynchronous contexts with a libevent adapter of its own, a pool of them in
# each of several threads.
source "$(dirname "$0")/lib.sh"
need webdis curl
keys=40 counters=200

http=$(free_port)
start_cluster
cat >"$work/webdis.json" <<J
{"redis_host": "$host", "redis_port": $port, "http_host": "$host", "http_port": $http,
 "threads": 2, "pool_size": 4, "daemonize": false, "websockets": false, "database": 0,
 "verbosity": 2, "logfile": "$work/webdis.log"}
J
start webdis "$work/webdis.json"
wait_until is_open "$http" || fail "does not listen: $(cat "$work/webdis.log" "$work/output")"
expect_library_in "$daemon"

expect_answer() {
    local answer
    answer=$(curl -s -m 30 "http://$host:$http/$1")
    [ "$answer" = "$2" ] || fail "$1 answered $answer instead of $2"
}

for i in $(seq $keys); do
    expect_answer "SET/web:$i/value-$i" '{"SET":[true,"OK"]}'
done
for i in $(seq $keys); do
    expect_answer "GET/web:$i" "{\"GET\":\"value-$i\"}"
    expect_value "web:$i" "value-$i"
done
expect_answer "MGET/web:3/web:1/none/web:2" '{"MGET":["value-3","value-1",null,"value-2"]}'
expect_answer "LPUSH/web:1/x" \
    '{"LPUSH":[false,"WRONGTYPE Operation against a key holding the wrong kind of value"]}'

# Eight at a time: the pipelines of the pool fill.
seq $counters | xargs -P 8 -I{} curl -s -m 60 -o "$work/answer-{}" \
    "http://$host:$http/INCRBY/count:{}/{}"
for i in $(seq $counters); do
    answer=$(cat "$work/answer-$i")
    [ "$answer" = "{\"INCRBY\":$i}" ] || fail "INCRBY $i answered $answer"
done
# A subscription is answered in pieces, a message each.
curl -s -N -m 60 "http://$host:$http/SUBSCRIBE/web:news" >"$work/messages" &
started+=("$!")
wait_until grep -q '"subscribe"' "$work/messages" || fail "SUBSCRIBE was not answered"
for i in 1 2 3; do
    ask "${ports[$((i - 1))]}" publish web:news "message-$i" >/dev/null
    wait_until grep -qF "\"message-$i\"" "$work/messages" || fail "message $i did not arrive"
done
[ "$(grep -o '"message-[0-9]"' "$work/messages" | sort | uniq -d)" = "" ] || fail "a message came twice"

is_alive || fail "has died"
expect_spread
pass "$keys keys, $counters counters eight at a time"
