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
front=$(free_port)
setpriv --pdeathsig TERM "$work/sidecar" "$front" "$host" "$port" >"$work/output" 2>&1 </dev/null &
sidecar=$!
started+=("$sidecar")
wait_until is_open "$front" || fail "does not listen: $(cat "$work/output")"

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

redis-benchmark -h "$host" -p "$front" -q -n 20000 -c 50 -P 8 -r 1000 -t set,get,incr,lpush,mset \
    >"$work/benchmark" 2>&1 </dev/null || fail "redis-benchmark: $(cat "$work/benchmark")"
[ "$(grep -c 'requests per second' "$work/benchmark")" -ge 5 ] || fail "$(cat "$work/benchmark")"
grep -qi 'error' "$work/benchmark" && fail "redis-benchmark: $(cat "$work/benchmark")"

python3 - "$front" "$sidecar" <<'P' || fail "see above"
import resource
import socket
import sys

PORT = int(sys.argv[1])
LIMIT_S = 120


def dial():
    return socket.create_connection(("127.0.0.1", PORT), timeout=LIMIT_S)


def command(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


def read_to_the_end(client):
    got = b""
    while piece := client.recv(1 << 20):
        got += piece
    return got


# Half-closed: sends everything, says that this was all, then reads.
client = dial()
client.sendall(b"".join(command(b"SET", b"half:%d" % i, b"%d" % i) for i in range(3000)))
client.sendall(b"".join(command(b"GET", b"half:%d" % i) for i in range(3000)))
client.shutdown(socket.SHUT_WR)
expected = b"+OK\r\n" * 3000 + b"".join(b"$%d\r\n%d\r\n" % (len(b"%d" % i), i) for i in range(3000))
assert read_to_the_end(client) == expected, "a half-closed client did not get its replies"

# The same in the middle of a command: what was whole is answered, the rest never happened.
client = dial()
client.sendall(command(b"PING") + b"*3\r\n$3\r\nSET\r\n$4\r\npart\r\n$9\r\nunfin")
client.shutdown(socket.SHUT_WR)
assert client.recv(7) == b"+PONG\r\n"
client.close()
client = dial()
client.sendall(command(b"GET", b"part"))
assert client.recv(5) == b"$-1\r\n", "an unfinished command was executed"

# A slow reader: asks for far more than all buffers hold, reads nothing at first. Others go on.
value = b"x" * 100_000
client.sendall(command(b"SET", b"big", value))
assert client.recv(5) == b"+OK\r\n"
slow = dial()
slow.settimeout(1)
asked = 0
try:
    while asked < 20_000:
        slow.sendall(command(b"GET", b"big"))
        asked += 1
except TimeoutError:
    sys.exit("requests of a slow reader should fit: they are short")
other = dial()
for i in range(200):
    other.sendall(command(b"GET", b"half:%d" % i))
    assert other.recv(100).endswith(b"\r\n%d\r\n" % i)
with open(f"/proc/{sys.argv[2]}/status") as status:
    resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
assert resident < 300_000, f"the sidecar holds {resident} kB for a client that does not read"
slow.settimeout(LIMIT_S)
reply = b"$100000\r\n" + value + b"\r\n"
got = 0
while got < 300 * len(reply):
    piece = slow.recv(1 << 20)
    assert piece, "a slow reader was dropped"
    got += len(piece)
slow.close()  # vanishes with replies under way

# Nonsense is answered as by a server, and the connection ends.
client = dial()
client.sendall(b"*1\r\n$abc\r\n")
assert read_to_the_end(client).startswith(b"-ERR Protocol error")

# Thousands at once, as many as this process may have.
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
wanted = 5000
if hard != resource.RLIM_INFINITY:
    wanted = min(wanted, hard - 200)
resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted + 100), hard))
clients = [dial() for _ in range(wanted)]
for i, c in enumerate(clients[:1000]):
    c.sendall(command(b"SET", b"many:%d" % i, b"v"))
for c in clients[:1000]:
    assert c.recv(5) == b"+OK\r\n"
for c in clients:
    c.close()
print(f"{wanted} connections at once")
P
[ "$(say ping)" = PONG ] || fail "does not answer any more: $(cat "$work/output")"

# The client that stopped in the middle of a command is given some seconds.
has_ended() {
    ! kill -0 "$sidecar"
}
kill "$sidecar"
wait_until has_ended || fail "SIGTERM does not end it"
wait "$sidecar" || fail "ended with $?: $(cat "$work/output")"
pass "redis-cli, redis-benchmark, half-closed and slow clients, thousands of connections"
