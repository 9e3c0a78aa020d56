"""Clients that are not easy to serve: sidecar_clients.py PORT PROCESS-ID NODE-PORT...

The sidecar is on that port, in front of these nodes or one server. Run by sidecar.sh."""

import resource
import socket
import sys
import time

PORT, PROCESS, *NODES = (int(argument) for argument in sys.argv[1:])
LIMIT_S = 120
LARGE = b"x" * 100_000


def dial(port=PORT):
    return socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)


def command(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


def expect(client, reply):
    got = b""
    while len(got) < len(reply):
        piece = client.recv(len(reply) - len(got))
        assert piece, (got, reply)
        got += piece
    assert got == reply, (got, reply)


def say(client, *words):
    client.sendall(command(*words))
    return client.recv(1 << 20)


def read_to_the_end(client):
    got = b""
    while piece := client.recv(1 << 20):
        got += piece
    return got


def resident_kb():
    with open(f"/proc/{PROCESS}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def half_closed():
    """Sends everything, says that this was all, then reads."""
    client = dial()
    client.sendall(b"".join(command(b"SET", b"half:%d" % i, b"%d" % i) for i in range(3000)))
    client.sendall(b"".join(command(b"GET", b"half:%d" % i) for i in range(3000)))
    client.shutdown(socket.SHUT_WR)
    values = b"".join(b"$%d\r\n%d\r\n" % (len(b"%d" % i), i) for i in range(3000))
    assert read_to_the_end(client) == b"+OK\r\n" * 3000 + values, "replies are missing"


def half_closed_and_late():
    """The same with a reply that takes its time."""
    client = dial()
    client.sendall(command(b"BLPOP", b"list", b"60"))
    client.shutdown(socket.SHUT_WR)
    time.sleep(1.5)
    assert say(dial(), b"RPUSH", b"list", b"late") == b":1\r\n"
    assert read_to_the_end(client) == b"*2\r\n$4\r\nlist\r\n$4\r\nlate\r\n", "a late reply is cut"


def half_closed_with_replies_of_all_kinds():
    client = dial()
    client.sendall(command(b"HELLO", b"3") + command(b"HSET", b"h", b"f", b"v"))
    client.sendall(command(b"CLIENT", b"TRACKING", b"ON") + command(b"HGETALL", b"h"))
    client.sendall(command(b"SET", b"h2", b"") + command(b"GET", b"h2"))
    client.sendall(
        command(b"LRANGE", b"none", b"0", b"-1") + command(b"EVAL", b"return {1,{}}", b"0")
    )
    client.sendall(b"PING\r\n\r\nPING inline\r\n" + command(b"GET", b"none"))
    client.shutdown(socket.SHUT_WR)
    replies = (
        b":1\r\n+OK\r\n%1\r\n$1\r\nf\r\n$1\r\nv\r\n+OK\r\n$0\r\n\r\n*0\r\n*2\r\n:1\r\n*0\r\n"
        b"+PONG\r\n$6\r\ninline\r\n_\r\n"
    )
    got = read_to_the_end(client)
    assert got.endswith(replies), got


def half_closed_in_the_middle():
    """What was whole is answered, the rest never happened."""
    client = dial()
    client.sendall(command(b"PING") + b"*3\r\n$3\r\nSET\r\n$4\r\npart\r\n$9\r\nunfin")
    client.shutdown(socket.SHUT_WR)
    assert read_to_the_end(client) == b"+PONG\r\n"
    assert say(dial(), b"GET", b"part") == b"$-1\r\n", "an unfinished command was executed"


def closed_with_replies_under_way():
    for _ in range(20):
        client = dial()
        client.sendall(command(b"GET", b"none") * 500)
        client.close()


def slow_reader():
    """Asks for far more than all buffers hold, reads nothing at first. Others go on."""
    slow = dial()
    assert say(slow, b"SET", b"big", LARGE) == b"+OK\r\n"
    slow.settimeout(1)
    for _ in range(20_000):  # requests are short: they fit
        slow.sendall(command(b"GET", b"big"))
    other = dial()
    for i in range(200):
        assert say(other, b"GET", b"half:%d" % i).endswith(b"\r\n%d\r\n" % i)
    assert resident_kb() < 300_000, f"{resident_kb()} kB for a client that does not read"
    slow.settimeout(LIMIT_S)
    for _ in range(300):
        expect(slow, b"$100000\r\n" + LARGE + b"\r\n")
    slow.close()  # with replies under way


def slow_servers():
    """Who goes on sending is not read from."""
    for node in NODES:
        assert say(dial(node), b"CLIENT", b"PAUSE", b"3000") == b"+OK\r\n"
    before = resident_kb()
    eager = dial()
    eager.setblocking(False)
    until = time.monotonic() + 1.5
    sent, unsent = 0, b""
    while time.monotonic() < until:
        if not unsent:
            unsent, sent = command(b"SET", b"eager:%d" % sent, LARGE), sent + 1
        try:
            unsent = unsent[eager.send(unsent) :]
        except BlockingIOError:
            time.sleep(0.01)
    grown = resident_kb() - before
    assert grown < 50_000, f"{grown} kB for what slow servers do not take"
    eager.settimeout(LIMIT_S)
    eager.sendall(unsent)
    eager.shutdown(socket.SHUT_WR)
    assert read_to_the_end(eager) == b"+OK\r\n" * sent, "a write was lost"


def nonsense():
    """Is answered as by a server, and the connection ends."""
    client = dial()
    client.sendall(b"*1\r\n$abc\r\n")
    assert read_to_the_end(client).startswith(b"-ERR Protocol error")


def ten_thousand():
    """Or as many as may be; one that says something takes eight descriptors of the sidecar's."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = 1 << 20
    talking = min(1000, hard // 20)
    wanted = min(10_000, hard - 8 * talking - 200)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted + 100), hard))
    clients = [dial() for _ in range(wanted)]
    for client in clients[:talking]:
        client.sendall(command(b"SET", b"many", b"v"))
    for client in clients[:talking]:
        expect(client, b"+OK\r\n")
    assert say(clients[-1], b"GET", b"many") == b"$1\r\nv\r\n"
    for client in clients:
        client.close()
    print(f"{wanted} connections at once, {talking} of them talking")


for test in (
    half_closed,
    half_closed_and_late,
    half_closed_with_replies_of_all_kinds,
    half_closed_in_the_middle,
    closed_with_replies_under_way,
    slow_reader,
    slow_servers,
    nonsense,
    ten_thousand,
):
    print(test.__name__, flush=True)
    test()
