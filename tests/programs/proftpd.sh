#!/usr/bin/env bash
# proftpd with mod_redis, mod_wrap2_redis and mod_cap: a process for each session, with several
# contexts one after the other, which changes its user and the capabilities of its one thread.
source "$(dirname "$0")/lib.sh"
need proftpd curl openssl /usr/lib/proftpd/mod_wrap2_redis.so
welcome=12 unwelcome=4

ftp=$(free_port)
start_cluster
mirror=$(free_port)
setpriv --pdeathsig TERM redis-server --port "$mirror" --save '' --dir "$work" >"$work/mirror" &
started+=("$!")
wait_until ask "$mirror" ping || fail "no server: $(cat "$work/mirror")"

user=$(id -un) group=$(id -gn)
[ "$(id -u)" != 0 ] || { user=nobody group=nogroup; }
mkdir "$work/files"
echo content >"$work/files/file"
for i in $(seq $((welcome + unwelcome))); do
    echo "u$i:$(openssl passwd -6 secret):$(id -u $user):$(id -g $user)::$work/files:/bin/sh"
done >"$work/passwd"
chmod 600 "$work/passwd"
cat >"$work/proftpd.conf" <<C
ServerName test
ServerType standalone
DefaultAddress $host
Port $ftp
User $user
Group $group
UseIPv6 off
UseReverseDNS off
<IfModule mod_delay.c>
DelayEngine off
</IfModule>
AuthUserFile $work/passwd
AuthOrder mod_auth_file.c
RequireValidShell off
PidFile $work/pid
ScoreboardFile $work/scoreboard
ModulePath /usr/lib/proftpd
$(for name in xfer ls; do # of Debian 13 these are apart
    [ ! -e /usr/lib/proftpd/mod_$name.so ] || echo "LoadModule mod_$name.c"
done)
LoadModule mod_redis.c
LoadModule mod_wrap2.c
LoadModule mod_wrap2_redis.c
LogFormat json "%u %f"
RedisEngine on
RedisServer $host:$port
RedisTimeouts 10000 30000
RedisLogOnCommand RETR json
WrapEngine on
WrapUserTables * redis:/list:allow:%{name} redis:/list:deny:%{name}
WrapLog $work/wrap.log
C
cat >"$work/redisroute.yaml" <<C
failover_timeout: 20s
mirror: $host:$mirror
C
chmod 644 "$work/redisroute.yaml"
for i in $(seq $((welcome + 1)) $((welcome + unwelcome))); do
    ask "$(owner "deny:u$i")" rpush "deny:u$i" ALL >/dev/null
done
ask "$mirror" flushall >/dev/null
REDISROUTE_CONFIG=$work/redisroute.yaml start proftpd -n -c "$work/proftpd.conf"
wait_until is_open "$ftp" || fail "does not listen: $(cat "$work/output")"
expect_library_in "$daemon"

download() {
    curl -s -m 60 "ftp://$host:$ftp/file" --user "u$1:secret"
}
for i in $(seq $welcome); do
    [ "$(download "$i")" = content ] || fail "u$i is not served: $(tail -5 "$work/output")"
done
for i in $(seq $((welcome + 1)) $((welcome + unwelcome))); do
    download "$i" >/dev/null && fail "u$i is let in"
done

# A log line for each download, in the list that is named after its format.
logged=$(ask "$(owner json)" lrange json 0 -1 | grep -o '"user":"u[0-9]*"' | sort -u | wc -l)
[ "$logged" = $welcome ] || fail "$logged of $welcome users are in the log"
is_alive || fail "has died"
pass "$welcome users downloaded a file, $unwelcome were refused"
