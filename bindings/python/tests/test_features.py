"""What redis-py documents of one server, beyond commands: on a cluster it is the same."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import redis
import redis.backoff
import redis.cache
import redis.connection
import redis.retry

import redisroute
from conftest import free_port

KEYS = [f"key:{i}" for i in range(60)]


def client_of(url, **options):
    return redis.Redis.from_pool(redisroute.ConnectionPool.from_url(url, **options))


@pytest.fixture
def users(nodes):
    """A user on every node, as on a cluster whose operator made one."""
    for node in nodes:
        node.acl_setuser(
            "someone", enabled=True, passwords=["+secret"], keys="*", commands=["+@all"]
        )
    yield "someone", "secret"
    for node in nodes:
        node.acl_deluser("someone")


@pytest.mark.parametrize("protocol", [2, 3])
def test_username_and_password(url, users, protocol):
    username, password = users
    with client_of(url, username=username, password=password, protocol=protocol) as client:
        client.mset({key: 1 for key in KEYS})
        assert client.acl_whoami() in ("someone", b"someone")
    with client_of(url.replace("//", f"//{username}:{password}@")) as client:
        assert client.mget(KEYS) == [b"1"] * len(KEYS)


def test_credential_provider(url, users):
    class Provider(redis.CredentialProvider):
        asked = 0

        def get_credentials(self):
            self.asked += 1
            return users

    provider = Provider()
    with client_of(url, credential_provider=provider) as client:
        client.mset({key: 1 for key in KEYS})
        assert client.acl_whoami() in ("someone", b"someone")
        assert provider.asked == 1


def test_client_name(url, nodes):
    with client_of(url, client_name="me") as client:
        assert client.client_getname() == "me"
        client.mset({key: 1 for key in KEYS})
        assert all(any(c["name"] == "me" for c in node.client_list()) for node in nodes)


def test_health_checks(url, nodes):
    def pings():
        return sum(n.info("commandstats").get("cmdstat_ping", {}).get("calls", 0) for n in nodes)

    with client_of(url, health_check_interval=0.05) as client:
        client.get("key")
        before = pings()
        time.sleep(0.1)
        assert client.set("key", 1) and client.get("key") == b"1"
        assert pings() > before


@pytest.mark.parametrize("times", [0, 3])
def test_retries(times):
    """The retry policy is asked as often as redis-py asks it by itself."""

    class Backoff(redis.backoff.NoBackoff):
        asked = 0

        def compute(self, failures):
            Backoff.asked += 1
            return 0

    def asked(pool_class):
        Backoff.asked = 0
        retry = redis.retry.Retry(Backoff(), times)
        pool = pool_class(host="127.0.0.1", port=free_port(), retry=retry)
        with pytest.raises(redis.ConnectionError):
            redis.Redis.from_pool(pool).ping()
        return Backoff.asked

    assert asked(redisroute.ConnectionPool) == asked(redis.ConnectionPool)


def test_a_node_that_never_accepts():
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        filling = []
        for _ in range(64):  # until its queue is full
            s = socket.socket()
            s.settimeout(0.1)
            try:
                s.connect(listener.getsockname())
            except OSError:
                s.close()
                break
            filling.append(s)
        else:
            pytest.fail("the queue is never full")
        pool = redisroute.ConnectionPool(
            host="127.0.0.1",
            port=listener.getsockname()[1],
            socket_connect_timeout=0.2,
            retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0),
        )
        start = time.monotonic()
        with pytest.raises((redis.TimeoutError, redis.ConnectionError)):
            redis.Redis.from_pool(pool).ping()
        assert time.monotonic() - start < 30
        for s in filling:
            s.close()


def test_blocking_pool(url):
    pool = redisroute.BlockingConnectionPool.from_url(url, max_connections=2, timeout=60)
    with redis.Redis.from_pool(pool) as client:
        threads = [
            threading.Thread(target=lambda: [client.incr("blocking") for _ in range(20)])
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert client.get("blocking") == b"160"


def test_single_connection_client(url):
    pool = redisroute.ConnectionPool.from_url(url)
    with redis.Redis(connection_pool=pool, single_connection_client=True) as client:
        client.mset({key: 1 for key in KEYS})
        assert client.mget(KEYS) == [b"1"] * len(KEYS)


@pytest.fixture
def any_version(monkeypatch):
    """redis-py caches for Redis 7.4 and newer only; what it does needs no more than Redis 6."""
    monkeypatch.setattr(redis.connection.CacheProxyConnection, "MIN_ALLOWED_VERSION", "6.0.0")


def test_client_side_caching(url, nodes, any_version):
    pool = redisroute.ConnectionPool.from_url(
        url, protocol=3, cache_config=redis.cache.CacheConfig(max_size=1000)
    )
    with redis.Redis.from_pool(pool) as client, client_of(url) as other:
        other.mset({key: "old" for key in KEYS})
        assert [client.get(key) for key in KEYS] == [b"old"] * len(KEYS)
        before = [node.info("commandstats")["cmdstat_get"]["calls"] for node in nodes]
        assert [client.get(key) for key in KEYS] == [b"old"] * len(KEYS)
        assert [node.info("commandstats")["cmdstat_get"]["calls"] for node in nodes] == before
        # Whoever owns a key says that it has changed.
        other.mset({key: "new" for key in KEYS})
        until = time.monotonic() + 30
        while [client.get(key) for key in KEYS] != [b"new"] * len(KEYS):
            assert time.monotonic() < until


def test_pubsub_reconnects_by_itself(url, nodes):
    """As after a server's restart: redis-py subscribes anew."""
    with client_of(url) as client, client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe("channel")
        pubsub.get_message(timeout=1)
        pubsub.connection.disconnect()
        until = time.monotonic() + 60
        message = None
        while not message and time.monotonic() < until:
            client.publish("channel", "x")
            message = pubsub.get_message(timeout=0.1)
        assert message["data"] == b"x"


@pytest.mark.parametrize("patched", [False, True])
def test_a_look_connects_anew(url, patched):
    """Without a message a look says so, also when it has to connect and to subscribe first."""
    with redisroute.patch():
        client = redis.Redis.from_url(url) if patched else client_of(url)
        with client, client.pubsub() as pubsub:
            for _ in range(20):
                pubsub.subscribe("channel")
                pubsub.connection.disconnect()
                until = time.monotonic() + 60
                while (message := pubsub.get_message()) is None:
                    assert time.monotonic() < until
                    time.sleep(0.001)
                assert message["type"] == "subscribe"


@pytest.mark.parametrize("protocol", [2, 3])
def test_sharded_pubsub(url, protocol):
    with client_of(url, protocol=protocol) as client, client.pubsub() as pubsub:
        pubsub.ssubscribe("shard")
        until = time.monotonic() + 60
        message = None
        while not message and time.monotonic() < until:
            client.execute_command("SPUBLISH", "shard", "x")
            message = pubsub.get_message(timeout=0.1, ignore_subscribe_messages=True)
        assert message["type"] == "smessage" and message["data"] == b"x"


def test_monitor(url):
    with client_of(url) as client, client.monitor() as monitor:
        client.set("watched:by:monitor", 1)
        for entry in monitor.listen():
            if "watched:by:monitor" in entry["command"]:
                break


def test_iterators(url):
    with client_of(url, decode_responses=True) as client:
        client.hset("h", mapping={key: 1 for key in KEYS})
        client.sadd("s", *KEYS)
        client.zadd("z", {key: 1 for key in KEYS})
        assert dict(client.hscan_iter("h")) == {key: "1" for key in KEYS}
        assert set(client.sscan_iter("s")) == set(KEYS)
        assert {member for member, _ in client.zscan_iter("z")} == set(KEYS)


def test_streams_and_groups(url):
    with client_of(url, decode_responses=True) as client:
        client.xgroup_create("stream", "group", mkstream=True)
        first = client.xadd("stream", {"f": "v"})
        ((_, entries),) = client.xreadgroup("group", "me", {"stream": ">"}, block=1000)
        assert entries == [(first, {"f": "v"})]
        assert client.xack("stream", "group", first) == 1


def test_a_pipeline_of_errors(url):
    with client_of(url) as client, client.pipeline(transaction=False) as pipe:
        pipe.set("string", 1).lpush("string", 1).rename("a", "b").get("string")
        ok, wrong, cross, value = pipe.execute(raise_on_error=False)
        assert ok is True and value == b"1"
        assert isinstance(wrong, redis.ResponseError) and "WRONGTYPE" in str(wrong)
        assert isinstance(cross, redis.ResponseError)


def test_functions_and_scripts(url):
    with client_of(url) as client, client.pipeline(transaction=False) as pipe:
        script = client.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
        for key in KEYS:
            script(keys=["{script}" + key], args=[3], client=pipe)
        assert pipe.execute() == [3] * len(KEYS)
    with client_of(url) as client:
        client.function_load(
            "#!lua name=lib\nredis.register_function('f', function(k) return redis.call('INCR', k[1]) end)",
            replace=True,
        )
        assert [client.fcall("f", 1, f"fn:{key}") for key in KEYS] == [1] * len(KEYS)


def test_fork_in_a_pool(url):
    """redis-py makes connections of a child's own; those of the parent go on."""
    client = client_of(url)
    subscribed = client.pubsub()
    subscribed.subscribe("channel")
    client.set("n", 0)
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            try:
                for _ in range(20):
                    client.incr("n")
                os._exit(0)
            finally:
                os._exit(2)
        children.append(child)
    for _ in range(20):
        client.incr("n")
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    assert client.get("n") == b"80"
    subscribed.close()
    client.close()


INTERRUPTED = """
import redis, redisroute, sys
client = redis.Redis.from_pool(redisroute.ConnectionPool.from_url(sys.argv[1]))
client.ping()
print("waiting", flush=True)
try:
    {wait}
except KeyboardInterrupt:
    assert client.ping()
    print("interrupted", flush=True)
"""
WAITS = {
    "command": "client.blpop('nothing', timeout=0)",
    "pubsub": "p = client.pubsub(); p.subscribe('c'); [m for m in p.listen()]",
    "small": "redisroute.connect(sys.argv[1]).command('BLPOP', 'nothing', 0)",
}


@pytest.mark.parametrize("wait", WAITS)
def test_control_c(url, nodes, wait):
    program = INTERRUPTED.format(wait=WAITS[wait])
    with subprocess.Popen(
        [sys.executable, "-c", program, url], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "waiting\n"
            until = time.monotonic() + 60
            while not any(
                node.info("clients")["blocked_clients"] or node.pubsub_channels("c")
                for node in nodes
            ):
                assert time.monotonic() < until
                time.sleep(0.02)
            # Between two of the interpreter's instructions a signal may be late by one wait.
            time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "interrupted\n"
            assert process.wait(60) == 0
        finally:
            process.kill()
