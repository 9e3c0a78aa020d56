"""Sessions that nobody closed."""

import gc
import os
import subprocess
import sys

import redis

import redisroute


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def test_sessions_are_closed(url):
    port = int(url.rsplit(":", 1)[1])
    before = descriptors()
    for _ in range(60):
        redisroute.Session("127.0.0.1", port)
    gc.collect()
    # The library's own thread may have been started meanwhile: that has a few descriptors.
    assert descriptors() < before + 30


def test_clients_in_a_cycle_are_closed(url):
    """redis-py's finalizer uses the session, and garbage knows no order."""
    before = descriptors()
    for _ in range(30):
        client = redis.Redis.from_pool(redisroute.ConnectionPool.from_url(url))
        client.ping()
        client.cycle = client
        client.connection_pool.cycle = client
        del client
    gc.collect()
    assert descriptors() < before + 30


def test_the_end_of_the_process(url):
    program = (
        "import redis, redisroute\n"
        f"r = redis.Redis.from_pool(redisroute.ConnectionPool.from_url({url!r}))\n"
        "r.cycle = r\n"
        "r.ping()\n"
        f"client = redisroute.connect({url!r})\n"
        "client.command('PING')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_a_failed_read_in_a_cycle(url):
    """A traceback keeps what a read was given; buffers in a cycle of garbage can be fatal to the
    interpreter."""
    session = redisroute.Session("127.0.0.1", int(url.rsplit(":", 1)[1]), timeout=0.01)
    for _ in range(20):
        for use in (
            lambda: session.recv_into(bytearray(100)),
            lambda: session.recv_into(memoryview(bytearray(100)), 10),
        ):
            try:
                use()
            except TimeoutError as error:
                error.cycle = error
        gc.collect()
    session.close()
    try:
        session.sendall(memoryview(bytearray(100)))
    except OSError as error:
        error.cycle = error
    gc.collect()
