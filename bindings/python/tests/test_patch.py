"""redisroute.patch: programs that nobody touches."""

import subprocess
import threading
import time

import pytest
import redis
import redis.asyncio
import valkey
import valkey.asyncio

import redisroute
from redisroute._stream import SessionTransport
from conftest import free_port, reads

KEYS = [f"key:{i}" for i in range(60)]


def port_of(url):
    return int(url.rsplit(":", 1)[1])


def is_routed(client):
    """Whether its next connection is a session."""
    client.connection_pool.disconnect()
    connection = client.connection_pool.make_connection()
    connection.connect()
    try:
        return isinstance(connection._sock, redisroute.Session)
    finally:
        connection.disconnect()


@pytest.mark.parametrize("package", [redis, valkey])
def test_sync(package, url, nodes):
    make = getattr(package, "Redis", None) or package.Valkey
    name = package.__name__
    with redisroute.patch(name):
        with make(port=port_of(url)) as client:
            client.mset({key: 1 for key in KEYS})
            assert client.dbsize() == len(KEYS)
    with make(port=port_of(url)) as client:
        assert client.dbsize() < len(KEYS)
        assert not is_routed(client)


@pytest.mark.parametrize("package", [redis, valkey])
async def test_asyncio(package, url, nodes):
    make = getattr(package.asyncio, "Redis", None) or package.asyncio.Valkey
    with redisroute.patch(package.__name__):
        client = make.from_url(url)
        await client.mset({key: 1 for key in KEYS})
        assert await client.dbsize() == len(KEYS)
        await client.aclose()
    client = make.from_url(url)
    assert await client.dbsize() < len(KEYS)
    await client.aclose()


def test_pools_that_are_there_already(url, nodes):
    pools = [
        redis.ConnectionPool.from_url(url),
        redis.BlockingConnectionPool.from_url(url, max_connections=2),
        redis.BlockingConnectionPool(host="127.0.0.1", port=port_of(url), protocol=3),
    ]
    clients = [redis.Redis.from_pool(pool) for pool in pools]
    for client in clients:
        assert not is_routed(client)
    with redisroute.patch():
        for client in clients:
            client.ping()  # on what it has
            assert is_routed(client)
            client.mset({key: 1 for key in KEYS})
            assert client.mget(KEYS) == [b"1"] * len(KEYS)
    for client in clients:
        assert client.dbsize() == len(KEYS)  # on what it has, once more
        assert not is_routed(client)
        client.close()


def test_nested(url):
    with redis.Redis.from_url(url) as client:
        with redisroute.patch():
            with redisroute.patch(read_policy="REPLICA"):
                assert is_routed(client)
            assert is_routed(client)
        assert not is_routed(client)

        outer, inner = redisroute.patch(), redisroute.patch()
        outer.undo()
        outer.undo()
        assert is_routed(client)
        inner.undo()
        assert not is_routed(client)

        redisroute.patch()
        redisroute.patch()
        redisroute.unpatch()
        assert is_routed(client)
        redisroute.unpatch()
        redisroute.unpatch()
        assert not is_routed(client)


def test_packages_are_patched_by_themselves(url):
    with redis.Redis.from_url(url) as client, valkey.Valkey.from_url(url) as other:
        with redisroute.patch("valkey"):
            assert is_routed(other) and not is_routed(client)
        assert not is_routed(other)
    with pytest.raises(ValueError):
        redisroute.patch("other")


def test_read_policy(pair):
    masters, replicas = pair
    for policy, asked, idle in (("REPLICA", replicas, masters), ("MASTER", masters, replicas)):
        before = reads(asked), reads(idle)
        with redisroute.patch(), redisroute.patch(read_policy=policy):
            with redis.Redis(port=masters[0]) as client:
                for key in KEYS:
                    client.get(key)
        assert (reads(asked), reads(idle)) == (before[0] + len(KEYS), before[1])


async def test_read_policy_of_asyncio(pair):
    masters, replicas = pair
    before = reads(replicas)
    with redisroute.patch(read_policy="REPLICA"):
        client = redis.asyncio.Redis(port=masters[0])
        for key in KEYS:
            await client.get(key)
        await client.aclose()
    assert reads(replicas) == before + len(KEYS)


def test_threads(url):
    """Patches come and go while others connect; in the end all is as it was."""
    before = redis.connection.Connection.__dict__["_connect"]
    failures = []

    def work():
        try:
            for _ in range(20):
                with redisroute.patch(read_policy="MASTER"):
                    with redis.Redis.from_url(url) as client:
                        assert client.mset({key: 1 for key in KEYS})
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failures == []
    assert redis.connection.Connection.__dict__["_connect"] is before


def test_unix_sockets_are_left_alone(tmp_path):
    with redisroute.patch(), pytest.raises(redis.ConnectionError) as raised:
        redis.Redis.from_url(f"unix://{tmp_path}/none", retry=None).ping()
    assert "redisroute" not in str(raised.value)


@pytest.mark.parametrize("make", [redis.RedisCluster, valkey.ValkeyCluster])
def test_a_cluster_client_is_left_alone(make, url, nodes):
    with redisroute.patch(make.__module__.split(".")[0]), make.from_url(url) as client:
        client.mset_nonatomic({key: 1 for key in KEYS})
        clients = [
            getattr(node, "redis_connection", None) or node.valkey_connection
            for node in client.get_nodes()
        ]
        connections = [c for each in clients for c in each.connection_pool._available_connections]
        assert len(connections) >= 3
        assert not any(isinstance(c._sock, redisroute.Session) for c in connections)


@pytest.mark.parametrize("make", [redis.asyncio.RedisCluster, valkey.asyncio.ValkeyCluster])
async def test_an_asynchronous_cluster_client_is_left_alone(make, url, nodes):
    with redisroute.patch(make.__module__.split(".")[0]):
        client = make.from_url(url)
        await client.mset_nonatomic({key: 1 for key in KEYS})
        connections = [c for node in client.get_nodes() for c in node._connections]
        assert len(connections) >= 3
        assert not any(isinstance(c._writer.transport, SessionTransport) for c in connections)
        await client.aclose()


@pytest.fixture
def sentinel(tmp_path):
    """The ports of a sentinel and of the server that it watches."""
    port, watched = free_port(), free_port()
    config = tmp_path / "sentinel.conf"
    config.write_text(f"port {port}\nsentinel monitor one 127.0.0.1 {watched} 1\n")
    server = ["redis-server", "--port", str(watched), "--save", "", "--dir", str(tmp_path)]
    processes = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL)
        for command in (server, ["redis-server", str(config), "--sentinel"])
    ]
    until = time.monotonic() + 60
    while True:
        try:
            redis.Redis(port=watched).ping()
            redis.Redis(port=port).ping()
            break
        except redis.ConnectionError:
            assert time.monotonic() < until
            time.sleep(0.05)
    yield port, watched
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(60)


def test_sentinel_is_left_alone(sentinel):
    port, watched = sentinel
    with redisroute.patch():
        found = redis.Sentinel([("127.0.0.1", port)])
        assert found.discover_master("one") == ("127.0.0.1", watched)
        with found.master_for("one") as master:
            assert master.set("k", "v") and master.get("k") == b"v"
            assert not is_routed(master)
