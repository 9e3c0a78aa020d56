#!/usr/bin/env bash
# varnish with vmod_redis: a pool of blocking contexts that worker threads share in a forked process;
# each is polled for writable, and given a time limit, before every command.
source "$(dirname "$0")/lib.sh"
need varnishd curl gcc
keys=60

http=$(free_port)
start_cluster
cat >"$work/test.vcl" <<C
vcl 4.1;
import redis;
import std;
backend default none;

sub vcl_init {
    new db = redis.db(location="$host:$port", type=master, connection_timeout=10000,
        command_timeout=30000, shared_connections=true, max_connections=4,
        max_command_retries=0);
}

sub vcl_recv {
    db.command("SET");
    db.push("varnish:" + req.url);
    db.push("value-of-" + req.url);
    db.execute();
    if (!db.replied() || db.reply_is_error()) {
        return (synth(500, "SET: " + db.get_error_reply()));
    }
    db.command("INCR");
    db.push("varnish:hits");
    db.execute();
    db.command("GET");
    db.push("varnish:" + req.url);
    db.execute();
    if (!db.replied() || db.reply_is_error()) {
        return (synth(500, "GET: " + db.get_error_reply()));
    }
    return (synth(200, db.get_string_reply()));
}

sub vcl_synth {
    synthetic(resp.reason);
    return (deliver);
}
C
start varnishd -F -a "$host:$http" -T none -n "$work/varnish" -f "$work/test.vcl" \
    -s malloc,16m -j none
is_ready() {
    [ "$(curl -s -m 5 "http://$host:$http/ready")" = value-of-/ready ]
}
wait_until is_ready || fail "does not answer: $(tail -5 "$work/output")"
expect_library_in "$(pgrep -P "$daemon" | head -1)"
ask "$(owner varnish:hits)" set varnish:hits 0 >/dev/null

seq $keys | xargs -P 8 -I{} curl -s -m 60 -o "$work/answer-{}" "http://$host:$http/{}"
for i in $(seq $keys); do
    answer=$(cat "$work/answer-$i")
    [ "$answer" = "value-of-/$i" ] || fail "/$i answered $answer"
    expect_value "varnish:/$i" "value-of-/$i"
done
expect_value varnish:hits $keys
is_alive || fail "has died"
expect_spread
pass "$keys requests eight at a time, and each counted once"
