#!/usr/bin/env bash
# The audit of programs that use one server: webdis (asynchronous, several threads, killed by a
# signal) and ccache (a process for each compilation). Nothing of what they do changes.
source "$(dirname "$0")/lib.sh"
need webdis curl ccache gcc redis-server
files=8

port=$(free_port)
redis-server --port "$port" --save '' --dir "$work" >"$work/server-output" 2>&1 &
started+=("$!")
wait_until ask "$port" ping || fail "no server: $(cat "$work/server-output")"
ask "$port" flushall >/dev/null

# count FILE COMMAND FINDING: what the audit counted; nothing where it found none.
count() {
    sed -n "s/^{\"command\":\"$2\",\"finding\":\"$3\",\"count\":\([0-9]*\),.*/\1/p" "$1.jsonl"
}

# expect_count FILE COMMAND FINDING NUMBER
expect_count() {
    [ "$(count "$1" "$2" "$3")" = "$4" ] || fail "$2 $3 is not $4: $(cat "$1.jsonl")"
}

# --- ccache ---

export CCACHE_DIR=$work/cache CCACHE_CONFIGPATH=/dev/null CCACHE_LOGFILE=$work/log
export CCACHE_REMOTE_STORAGE=redis://$host:$port CCACHE_REMOTE_ONLY=true CCACHE_NOHASHDIR=true
cd "$work" || exit 1
for i in $(seq $files); do
    echo "int function_$i(int x) { return x * $i + $$; }" >"file$i.c"
done
seq $files | REDISROUTE_AUDIT=$work/ccache-audit LD_PRELOAD=$preload \
    xargs -P 4 -I{} ccache gcc -c file{}.c -o file{}.o || fail "ccache does not compile"
ask "$port" config resetstat >/dev/null
rm -f ./*.o
seq $files | REDISROUTE_AUDIT=$work/ccache-audit LD_PRELOAD=$preload \
    xargs -P 4 -I{} ccache gcc -c file{}.c -o file{}.o || fail "ccache does not compile again"

# calls COMMAND: what the server counted.
calls() {
    ask "$port" info commandstats | sed -n "s/^cmdstat_$1:calls=\([0-9]*\),.*/\1/p"
}

# Both times it looked for every object, and it is the second time that the server counted.
expect_count "$work/ccache-audit" GET works $((2 * $(calls get)))
! grep -E '"finding":"(crossslot|unreadable|unknown|refused|transaction)"' ccache-audit.jsonl ||
    fail "ccache would not work, says the audit"

# --- webdis ---

http=$(free_port)
cat >"$work/webdis.json" <<J
{"redis_host": "$host", "redis_port": $port, "http_host": "$host", "http_port": $http,
 "threads": 2, "pool_size": 4, "daemonize": false, "websockets": false, "database": 0,
 "verbosity": 2, "logfile": "$work/webdis.log"}
J
export REDISROUTE_AUDIT=$work/webdis-audit REDISROUTE_AUDIT_INTERVAL=200ms
start webdis "$work/webdis.json"
wait_until is_open "$http" || fail "does not listen: $(cat "$work/webdis.log" "$work/output")"
expect_library_in "$daemon"

expect_answer() {
    local answer
    answer=$(curl -s -m 30 "http://$host:$http/$1")
    [ "$answer" = "$2" ] || fail "$1 answered $answer instead of $2"
}

for i in $(seq 20); do
    expect_answer "SET/web:$i/hunter2-$i" '{"SET":[true,"OK"]}'
done
expect_answer "MGET/web:3/web:1" '{"MGET":["hunter2-3","hunter2-1"]}'
expect_answer "RENAME/web:1/web:2" '{"RENAME":[true,"OK"]}'
expect_answer "DBSIZE" "{\"DBSIZE\":$(ask "$port" dbsize)}"
wait_until grep -q '"command":"DBSIZE"' "$work/webdis-audit.jsonl" || fail "no audit while it runs"
kill -9 "$daemon"
wait "$daemon" 2>/dev/null
expect_count "$work/webdis-audit" SET works 20
expect_count "$work/webdis-audit" MGET split 1
expect_count "$work/webdis-audit" RENAME crossslot 1
expect_count "$work/webdis-audit" DBSIZE fan-out 1
grep -q "1  RENAME  *'web:1'  'web:2'" "$work/webdis-audit" || fail "$(cat "$work/webdis-audit")"
! grep hunter2 "$work"/webdis-audit* || fail "values are in the report"
pass "$((2 * files)) compilations and an HTTP server were audited"
