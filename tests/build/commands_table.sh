#!/usr/bin/env bash
# command_table.inc is what the generator makes of the servers' data, and the data is what the
# servers of this machine say.
source "$(dirname "$0")/lib.sh"

route=$REDISROUTE_SOURCE/lib/route
server=
clean_up() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    wait
    rm -rf "$work"
}
trap clean_up EXIT

python3 "$route/generate_commands.py" >"$work/table"
diff "$route/command_table.inc" "$work/table" >"$work/differences" ||
    fail "command_table.inc is stale, run generate_commands.py: $(head -20 "$work/differences")"

# --- rules that do not fit are noticed ---

copy_route() {
    rm -rf "$work/route"
    mkdir "$work/route"
    cp -r "$route"/*.py "$route"/command_rules.json "$route"/commands "$work/route"
}

# refuses MESSAGE SED-SCRIPT FILE
refuses() {
    copy_route
    sed -i "$2" "$work/route/$3"
    ! cmp -s "$route/$3" "$work/route/$3" || fail "$3 was not changed by $2"
    ! python3 "$work/route/generate_commands.py" >"$work/other" 2>"$work/error" ||
        fail "taken: $2"
    grep -qF "$1" "$work/error" || fail "'$1' is not in: $(cat "$work/error")"
}

refuses "zrank: servers differ about arity" 's/"zrank", "zrevrank"/"zrevrank"/' command_rules.json
refuses "servers agree about arity of get" 's/"zrank", "zrevrank"/"get", &/' command_rules.json
refuses "get: servers differ about flags" '/^."get"/s/"readonly"/"write"/' commands/valkey-8.1.json
refuses "get: servers differ about keys" '/^."get"/s/"index",1/"index",2/' commands/redis-8.0.json
refuses "swapdb has no key and no policy" 's/"swapdb"/"move"/' command_rules.json

# --- the servers of this machine ---

start() {
    local port _
    for _ in {1..20}; do
        port=$((11000 + RANDOM % 20000))
        "$1" --port $port --bind 127.0.0.1 --save '' --dir "$work" >"$work/log" 2>&1 &
        server=$!
        for _ in {1..100}; do
            if grep -q 'Ready to accept' "$work/log"; then
                at=$port
                return
            fi
            kill -0 "$server" 2>/dev/null || break # the port is taken
            sleep 0.1
        done
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    done
    fail "$1 does not start: $(cat "$work/log")"
}

rows_of() {
    sed '1,/^static const/d' "$1"
}

# A server of another patch level than the one in commands/ takes its place; one that is not there
# at all is added. Either way nothing changes.
fits() {
    local name
    copy_route
    start "$1"
    python3 "$route/record_commands.py" 127.0.0.1 "$at" >"$work/recorded"
    kill "$server"
    wait "$server" || true
    server=
    name=$(sed -n '1s/^{"server":"\([A-Za-z]*\) \([0-9]*\.[0-9]*\).*/\1-\2/p' "$work/recorded")
    [ -n "$name" ] || fail "$1 has no name: $(head -c 100 "$work/recorded")"
    cp "$work/recorded" "$work/route/commands/${name,,}.json"
    python3 "$work/route/generate_commands.py" >"$work/other" ||
        fail "$name: the rules do not cover what it says"
    diff <(rows_of "$route/command_table.inc") <(rows_of "$work/other") >"$work/differences" ||
        fail "$name knows other commands than the table: $(head -20 "$work/differences")"
    echo "the table fits $name"
}

fits redis-server
if command -v valkey-server >/dev/null; then
    fits valkey-server
fi
