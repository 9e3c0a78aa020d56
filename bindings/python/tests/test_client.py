"""redisroute.connect, and what is in no client's tests."""

import pytest

import redisroute

KEYS = [f"key:{i}" for i in range(60)]


@pytest.fixture
def client(url):
    with redisroute.connect(url, timeout=30) as connected:
        yield connected


def test_commands(client, nodes):
    assert client.command("SET", "key", b"\x00\xff") == b"OK"
    assert client.command("GET", "key") == b"\x00\xff"
    assert client.command("GET", "none") is None
    assert client.command("RPUSH", "list", 1, 2.5, "ü") == 3
    assert client.command("LRANGE", "list", 0, -1) == [b"1", b"2.5", "ü".encode()]
    for key in KEYS:
        client.command("SET", key, 1)
    assert client.command("DBSIZE") == sum(node.dbsize() for node in nodes)


def test_resp3(client):
    client.command("HELLO", 3)
    client.command("HSET", "h", "f", "v")
    assert client.command("HGETALL", "h") == [(b"f", b"v")]
    client.command("ZADD", "z", 1.5, "m")
    assert client.command("ZSCORE", "z", "m") == 1.5


def test_pipeline(client):
    with client.pipeline() as pipe:
        for number, key in enumerate(KEYS):
            pipe.command("SET", key, number).command("GET", key)
        assert len(pipe) == 2 * len(KEYS)
        assert pipe.execute()[1::2] == [b"%d" % i for i in range(len(KEYS))]
        assert pipe.execute() == []


def test_errors(client):
    client.command("SET", "string", 1)
    with pytest.raises(redisroute.ReplyError, match="WRONGTYPE") as raised:
        client.command("LPUSH", "string", 1)
    assert raised.value.code == "WRONGTYPE"
    replies = (
        client.pipeline()
        .command("LPUSH", "string", 1)
        .command("GET", "string")
        .execute(raise_on_error=False)
    )
    assert isinstance(replies[0], redisroute.ReplyError) and replies[1] == b"1"
    with pytest.raises(TypeError):
        client.command("SET", "k", None)
    with pytest.raises(ValueError):
        client.command()


def test_a_time_out_closes(url):
    client = redisroute.connect(f"{url}?timeout=0.1")
    with pytest.raises(TimeoutError):
        client.command("BLPOP", "nothing", 30)
    with pytest.raises(OSError, match="closed"):
        client.command("PING")


@pytest.mark.parametrize("bad", ["redis://h/1", "redis://h?colour=1", "http://h"])
def test_urls_that_cannot_be(bad):
    with pytest.raises(ValueError):
        redisroute.connect(bad)


def test_refused():
    with pytest.raises(ConnectionRefusedError, match="redisroute: "):
        redisroute.connect("redis://127.0.0.1:1")


def test_version():
    assert redisroute.version() == redisroute.__version__


def test_valkey(url):
    import valkey
    import redisroute.valkey

    pool = redisroute.valkey.ConnectionPool.from_url(url)
    with valkey.Valkey.from_pool(pool) as client:
        client.mset({key: 1 for key in KEYS})
        assert client.mget(KEYS) == [b"1"] * len(KEYS)


async def test_valkey_asyncio(url):
    import valkey.asyncio
    import redisroute.valkey.asyncio

    pool = redisroute.valkey.asyncio.ConnectionPool.from_url(url)
    client = valkey.asyncio.Valkey.from_pool(pool)
    await client.mset({key: 1 for key in KEYS})
    assert await client.mget(KEYS) == [b"1"] * len(KEYS)
    await client.aclose()
