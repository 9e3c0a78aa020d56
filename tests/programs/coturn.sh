#!/usr/bin/env bash
# coturn: users from Redis by blocking contexts, and what happens to their sessions published by
# asynchronous ones, whose descriptors it peeks at.
source "$(dirname "$0")/lib.sh"
need turnserver turnadmin turnutils_uclient turnutils_peer
users=12

turn=$(free_port)
peer=$(free_port)
start_cluster
database="ip=$host dbname=0 port=$port connect_timeout=30"
for i in $(seq $users); do
    with_library turnadmin -a -u "user$i" -r test.org -p "secret$i" -N "$database" \
        >>"$work/admin" 2>&1 || fail "turnadmin: $(cat "$work/admin")"
done
listed=$(with_library turnadmin -l -N "$database" 2>&1 | grep -c '^user')
[ "$listed" = $users ] || fail "$listed users are listed"
expect_spread

# Messages come to all nodes.
redis-cli -h "$host" -p "${ports[2]}" psubscribe 'turn/*' >"$work/published" 2>&1 &
started+=("$!")
wait_until grep -q psubscribe "$work/published" || fail "no subscription"

setpriv --pdeathsig TERM turnutils_peer -p "$peer" -L "$host" >/dev/null 2>&1 &
started+=("$!")
start turnserver -n --lt-cred-mech --redis-userdb "$database" --redis-statsdb "$database" \
    -r test.org -L "$host" -E "$host" -p "$turn" --no-tls --no-dtls --no-cli \
    --allow-loopback-peers --log-file stdout --pidfile "$work/pid" -v
wait_until is_open "$turn" || fail "does not listen: $(tail -5 "$work/output")"
expect_library_in "$daemon"

# use_turn USER PASSWORD: succeeds when all packets came back.
use_turn() {
    timeout 60 turnutils_uclient -c -n 2 -m 1 -u "$1" -w "$2" -p "$turn" -e "$host" -r "$peer" \
        "$host" >"$work/client-$1" 2>&1 && grep -q 'Total lost packets 0 ' "$work/client-$1"
}

clients=()
for i in $(seq $users); do
    use_turn "user$i" "secret$i" &
    clients+=("$!")
done
use_turn user1 wrong && fail "a wrong password was taken"
for client in "${clients[@]}"; do
    wait "$client" || fail "$(tail -3 "$work"/client-* "$work/output")"
done

# is_published USER WHAT
is_published() {
    grep -qE "^turn/realm/test.org/user/$1/allocation/[0-9]+/$2$" "$work/published"
}
for i in $(seq $users); do
    for what in status traffic total_traffic; do
        wait_until is_published "user$i" $what || fail "no $what of user$i was published"
    done
done
! grep -i 'connection broken' "$work/output" || fail "takes its connections for broken"
is_alive || fail "has died"
pass "$users sessions, each with its user from Redis and its events published"
