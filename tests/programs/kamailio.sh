#!/usr/bin/env bash
# kamailio with ndb_redis: one blocking context per forked worker, single commands and pipelines of
# formatted commands; driven by SIP datagrams.
source "$(dirname "$0")/lib.sh"
need kamailio
users=60

sip=$(free_port)
start_cluster
modules=$(dirname "$(find /usr/lib -path '*kamailio/modules/ndb_redis.so' | head -1)")
cat >"$work/kamailio.cfg" <<C
debug=1
log_stderror=yes
fork=yes
children=2
listen=udp:$host:$sip
disable_tcp=yes
mpath="$modules"
loadmodule "pv.so"
loadmodule "sl.so"
loadmodule "textops.so"
loadmodule "kex.so"
loadmodule "ndb_redis.so"
modparam("ndb_redis", "server", "name=r;addr=$host;port=$port;db=0")
modparam("ndb_redis", "connect_timeout", 10000)
modparam("ndb_redis", "cmd_timeout", 30000)

request_route {
    redis_cmd("r", "SET sip:\$rU value-\$rU", "set");
    redis_cmd("r", "GET sip:\$rU", "get");
    redis_pipe_cmd("r", "SET sip:first:\$rU a", "first");
    redis_pipe_cmd("r", "SET sip:second:\$rU b", "second");
    redis_pipe_cmd("r", "GET sip:first:\$rU", "both");
    redis_execute("r");
    append_to_reply("X-Redis: \$redis(get=>value)|\$redis(both=>value)\r\n");
    sl_send_reply("200", "fine");
}
C
mkdir "$work/run"
start kamailio -DD -E -f "$work/kamailio.cfg" -P "$work/pid" -Y "$work/run" -m 32 -M 4

# ask_sip USER: one OPTIONS request; succeeds when the reply carries what Redis holds for that user.
# A datagram may get lost, and does while kamailio is starting: then another one is sent.
ask_sip() {
    local try
    for try in 1 2 3; do
        exec 3<>"/dev/udp/$host/$sip"
        printf '%s\r\n' "OPTIONS sip:$1@$host:$sip SIP/2.0" \
            "Via: SIP/2.0/UDP $host:9;branch=z9hG4bK-$1-$try;rport" \
            "From: <sip:test@$host>;tag=1" "To: <sip:$1@$host>" "Call-ID: $1-$try" \
            "CSeq: 1 OPTIONS" "Max-Forwards: 5" "Content-Length: 0" "" >"$work/request"
        # One write and one read each: a datagram comes whole or not at all.
        dd if="$work/request" bs=64k >&3
        timeout 10 dd bs=64k count=1 <&3 >"$work/reply"
        exec 3>&-
        grep -q "^X-Redis: value-$1|a" "$work/reply" && return
    done 2>/dev/null
    return 1
}

wait_until ask_sip ready || fail "does not answer: $(tail -5 "$work/output")"
for i in $(seq $users); do
    ask_sip "user$i" || fail "no right answer for user$i: $(grep -i redis "$work/output" | tail -3)"
done
for i in 1 $users; do
    expect_value "sip:user$i" "value-user$i"
    expect_value "sip:first:user$i" a
    expect_value "sip:second:user$i" b
done
is_alive || fail "has died"
expect_library_in "$daemon"
expect_spread
pass "$users requests, each with two commands and a pipeline of three"
