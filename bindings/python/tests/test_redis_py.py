"""redis-py as its users know it, on a cluster."""

import gc
import os
import signal
import threading
import time

import pytest
import redis
from redis._parsers import _HiredisParser, _RESP2Parser, _RESP3Parser

import redisroute

KEYS = [f"key:{i}" for i in range(60)]
VARIANTS = {
    "hiredis": {"parser_class": _HiredisParser, "protocol": 2},
    "python": {"parser_class": _RESP2Parser, "protocol": 2},
    "resp3-hiredis": {"parser_class": _HiredisParser, "protocol": 3},
    "resp3-python": {"parser_class": _RESP3Parser, "protocol": 3},
}


@pytest.fixture(params=VARIANTS)
def r(request, url):
    pool = redisroute.ConnectionPool.from_url(url, **VARIANTS[request.param])
    with redis.Redis.from_pool(pool) as client:
        yield client


@pytest.fixture
def plain(url):
    with redis.Redis.from_pool(redisroute.ConnectionPool.from_url(url)) as client:
        yield client


def test_commands_reach_the_owners_of_their_keys(r, nodes):
    for number, key in enumerate(KEYS):
        assert r.set(key, number) is True
    assert [int(r.get(key)) for key in KEYS] == list(range(len(KEYS)))
    assert all(node.dbsize() > 0 for node in nodes)
    assert r.dbsize() == sum(node.dbsize() for node in nodes) == len(KEYS)
    assert r.mget(KEYS) == [b"%d" % i for i in range(len(KEYS))]
    assert r.delete(*KEYS) == len(KEYS)


def test_response_callbacks(r):
    r.hset("h", mapping={"a": 1, "b": 2})
    assert r.hgetall("h") == {b"a": b"1", b"b": b"2"}
    r.zadd("z", {"x": 1.5, "y": 2})
    assert [(m, float(s)) for m, s in r.zrange("z", 0, -1, withscores=True)] == [
        (b"x", 1.5),
        (b"y", 2.0),
    ]
    assert r.sadd("s", "m") == 1 and r.smembers("s") == {b"m"}
    r.xadd("stream", {"f": "v"})
    assert r.xlen("stream") == 1
    assert r.info()["redis_version"]
    assert "maxmemory" in r.config_get("maxmemory")
    assert isinstance(r.time(), tuple)
    assert r.ping() is True


def test_pipelines(r):
    with r.pipeline(transaction=False) as pipe:
        for number, key in enumerate(KEYS):
            pipe.set(key, number).get(key)
        replies = pipe.execute()
    assert replies[1::2] == [b"%d" % i for i in range(len(KEYS))]
    with r.pipeline(transaction=True) as pipe:
        assert pipe.incr("{tag}a").incr("{tag}a").get("{tag}a").execute() == [1, 2, b"2"]


def test_a_large_pipeline(plain):
    value = b"x" * 10000
    with plain.pipeline(transaction=False) as pipe:
        for number in range(2000):
            pipe.set(f"large:{number}", value).get(f"large:{number}")
        replies = pipe.execute()
    assert replies == [True, value] * 2000


def test_watch(r):
    r.set("{tag}n", 1)

    def increase(pipe):
        n = int(pipe.get("{tag}n"))
        pipe.multi()
        pipe.set("{tag}n", n + 1)

    assert r.transaction(increase, "{tag}n") == [True]
    with r.pipeline() as pipe:
        pipe.watch("{tag}n")
        r.set("{tag}n", 5)
        pipe.multi()
        pipe.get("{tag}n")
        with pytest.raises(redis.WatchError):
            pipe.execute()


def test_scan_iter(plain):
    plain.mset({key: 1 for key in KEYS})
    keys = set(plain.scan_iter("key:*", count=7))
    assert sorted(keys) == sorted(key.encode() for key in KEYS)


def test_lock(r):
    with r.lock("lock", timeout=10) as lock:
        assert lock.locked()
        assert not r.lock("lock", timeout=10).acquire(blocking=False)
    assert not lock.locked()


def test_register_script(r):
    script = r.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    assert [script(keys=[key], args=[2]) for key in KEYS] == [2] * len(KEYS)


def test_decode_responses(url):
    pool = redisroute.ConnectionPool.from_url(url, decode_responses=True)
    with redis.Redis.from_pool(pool) as client:
        client.set("text", "ü")
        assert client.get("text") == "ü"


def test_pubsub(r):
    with r.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe("channel")
        pubsub.psubscribe("chan*")
        until = time.monotonic() + 60
        seen = set()
        while seen != {"message", "pmessage"} and time.monotonic() < until:
            r.publish("channel", "x")
            message = pubsub.get_message(timeout=1)
            seen |= {message["type"]} if message else set()
        assert seen == {"message", "pmessage"}
        pubsub.unsubscribe()


def test_pubsub_in_a_thread(plain):
    heard = threading.Event()
    pubsub = plain.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe(**{"channel": lambda message: heard.set()})
    thread = pubsub.run_in_thread(sleep_time=0.05)
    until = time.monotonic() + 60
    while not heard.is_set() and time.monotonic() < until:
        plain.publish("channel", "x")
        heard.wait(0.05)
    thread.stop()
    thread.join(60)
    assert heard.is_set() and not thread.is_alive()


def test_a_message_is_waited_for_no_longer_than_asked(plain):
    with plain.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe("silent")
        pubsub.get_message(timeout=5)
        start = time.monotonic()
        assert pubsub.get_message(timeout=0.1) is None
        assert 0.05 < time.monotonic() - start < 30


def test_errors_are_redis_pys(plain, url):
    plain.set("string", "x")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        plain.lpush("string", 1)
    with pytest.raises(redis.ResponseError, match="CROSSSLOT|same slot"):
        plain.rename("a", "b")
    with pytest.raises(redis.ConnectionError):
        pool = redisroute.ConnectionPool(host="127.0.0.1", port=1, retry=None)
        redis.Redis(connection_pool=pool).ping()
    with pytest.raises(redis.AuthenticationError):
        pool = redisroute.ConnectionPool.from_url(url, username="nobody", password="x")
        redis.Redis(connection_pool=pool).ping()


def test_a_time_out_and_the_connection_after_it(url):
    pool = redisroute.ConnectionPool.from_url(url, socket_timeout=0.2, retry=None)
    with redis.Redis.from_pool(pool) as client:
        client.set("k", "v")
        # With Python 3.9, redis-py takes its own time-out for another error of the socket.
        with pytest.raises((redis.TimeoutError, redis.ConnectionError), match="Timeout reading"):
            client.blpop("nothing", timeout=30)
        assert client.get("k") == b"v"


def test_a_connection_is_kept(plain):
    """A look at the descriptor before each command must not make redis-py connect anew."""
    plain.ping()
    (connection,) = plain.connection_pool._available_connections
    session = connection._sock
    for key in KEYS:
        plain.set(key, 1)
    plain.mget(KEYS)
    assert connection._sock is session


def test_threads_share_a_client(plain):
    def work(number):
        for i in range(50):
            assert plain.incr(f"thread:{number}") == i + 1

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert [int(plain.get(f"thread:{n}")) for n in range(8)] == [50] * 8


def test_the_gil_is_released_while_waiting(plain):
    waiter = threading.Thread(target=plain.blpop, args=("gil", 60))
    waiter.start()
    assert plain.ping()
    plain.rpush("gil", "x")
    waiter.join(60)
    assert not waiter.is_alive()


class Interrupted(Exception):
    pass


def test_a_signal_interrupts_a_wait(plain):
    def raise_it(*_):
        raise Interrupted

    before = signal.signal(signal.SIGALRM, raise_it)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(Interrupted):
            plain.blpop("nothing", timeout=60)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert plain.ping()


def test_a_signal_that_raises_nothing_ends_no_wait(plain):
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        assert plain.blpop("nothing", timeout=1) is None
    finally:
        signal.signal(signal.SIGALRM, before)


def test_fork(plain):
    plain.set("fork", "parent")
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if plain.get("fork") == b"parent" and plain.set("fork:child", 1) else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert plain.get("fork:child") == b"1"


def test_another_thread_closes(url):
    session = redisroute.Session("127.0.0.1", int(url.rsplit(":", 1)[1]))
    errors = []

    def wait():
        try:
            session.recv(10)
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.05)
    session.close()
    thread.join(60)
    assert not thread.is_alive() and len(errors) == 1
    session.close()
    assert session.fileno() == -1
