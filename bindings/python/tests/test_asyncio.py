"""redis.asyncio on a cluster."""

import asyncio
import warnings

import pytest
import redis
import redis.asyncio

import redisroute
import redisroute._stream
import redisroute.asyncio

KEYS = [f"key:{i}" for i in range(60)]


@pytest.fixture(params=[2, 3])
async def r(request, url):
    pool = redisroute.asyncio.ConnectionPool.from_url(url, protocol=request.param)
    client = redis.asyncio.Redis.from_pool(pool)
    yield client
    await client.aclose()


async def test_commands(r, nodes):
    await asyncio.gather(*(r.set(key, i) for i, key in enumerate(KEYS)))
    assert await asyncio.gather(*(r.get(key) for key in KEYS)) == [b"%d" % i for i in range(60)]
    assert await r.dbsize() == sum(node.dbsize() for node in nodes) == len(KEYS)


async def test_pipelines(r):
    async with r.pipeline(transaction=False) as pipe:
        for key in KEYS:
            pipe.incr(key)
        assert await pipe.execute() == [1] * len(KEYS)
    async with r.pipeline(transaction=True) as pipe:
        assert await pipe.incr("{t}a").incr("{t}a").execute() == [1, 2]


async def test_a_large_pipeline(r):
    value = b"x" * 10000
    async with r.pipeline(transaction=False) as pipe:
        for number in range(1000):
            pipe.set(f"large:{number}", value).get(f"large:{number}")
        assert await pipe.execute() == [True, value] * 1000


async def test_pubsub(r):
    async with r.pubsub(ignore_subscribe_messages=True) as pubsub:
        await pubsub.subscribe("channel")
        message = None
        for _ in range(600):
            await r.publish("channel", "hello")
            message = await pubsub.get_message(timeout=0.1)
            if message:
                break
        assert message["data"] == b"hello"


async def test_a_wait_leaves_the_loop_free(r):
    waiter = asyncio.create_task(r.blpop("list", 60))
    await r.set("other", 1)
    await r.rpush("list", "x")
    assert await asyncio.wait_for(waiter, 60) is not None


async def test_a_time_out(url):
    pool = redisroute.asyncio.ConnectionPool.from_url(url, socket_timeout=0.2, retry=None)
    client = redis.asyncio.Redis.from_pool(pool)
    with pytest.raises(redis.TimeoutError):
        await client.blpop("nothing", 30)
    assert await client.ping()
    await client.aclose()


async def test_cancelled(r):
    task = asyncio.create_task(r.blpop("nothing", 60))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await r.set("k", "v") and await r.get("k") == b"v"


async def test_pubsub_is_cancelled(r):
    async with r.pubsub(ignore_subscribe_messages=True) as pubsub:
        await pubsub.subscribe("channel")

        async def first():
            async for message in pubsub.listen():
                return message

        task = asyncio.create_task(first())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await r.ping()


async def test_watch(r):
    async def increase(pipe):
        n = int(await pipe.get("{t}n") or 0)
        pipe.multi()
        pipe.set("{t}n", n + 1)

    assert await r.transaction(increase, "{t}n") == [True]
    async with r.pipeline() as pipe:
        await pipe.watch("{t}n")
        await r.set("{t}n", 5)
        pipe.multi()
        pipe.get("{t}n")
        with pytest.raises(redis.WatchError):
            await pipe.execute()


async def test_iterators_locks_and_scripts(r):
    await r.mset({key: 1 for key in KEYS})
    found = {key async for key in r.scan_iter("key:*", count=7)}
    assert found == {key.encode() for key in KEYS}
    async with r.lock("lock", timeout=10) as lock:
        assert not await r.lock("lock", timeout=10).acquire(blocking=False)
        assert await lock.owned()
    script = r.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    assert [await script(keys=[f"script:{key}"], args=[2]) for key in KEYS] == [2] * len(KEYS)


async def test_a_blocking_pool(url):
    pool = redisroute.asyncio.BlockingConnectionPool.from_url(url, max_connections=2, timeout=60)
    client = redis.asyncio.Redis.from_pool(pool)
    await asyncio.gather(*(client.incr("blocking") for _ in range(100)))
    assert await client.get("blocking") == b"100"
    await client.aclose()


async def test_health_checks(url):
    pool = redisroute.asyncio.ConnectionPool.from_url(url, health_check_interval=0.05)
    client = redis.asyncio.Redis.from_pool(pool)
    assert await client.set("k", "v")
    await asyncio.sleep(0.1)
    assert await client.get("k") == b"v"
    await client.aclose()


def test_uvloop(url):
    import uvloop

    async def main():
        pool = redisroute.asyncio.ConnectionPool.from_url(url)
        client = redis.asyncio.Redis.from_pool(pool)
        await asyncio.gather(*(client.set(key, i) for i, key in enumerate(KEYS)))
        value = b"x" * 100000
        async with client.pipeline(transaction=False) as pipe:
            for i in range(100):
                pipe.set(f"large:{i}", value).get(f"large:{i}")
            assert await pipe.execute() == [True, value] * 100
        waiter = asyncio.create_task(client.blpop("list", 60))
        await client.rpush("list", "x")
        assert await asyncio.wait_for(waiter, 60) is not None
        await client.aclose()

    loop = uvloop.new_event_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


async def test_refused():
    pool = redisroute.asyncio.ConnectionPool(host="127.0.0.1", port=1, retry=None)
    client = redis.asyncio.Redis.from_pool(pool)
    with pytest.raises(redis.ConnectionError):
        await client.ping()
    await client.aclose()


async def test_the_stream_pair(url):
    reader, writer = await redisroute._stream.open_connection(
        "localhost", int(url.rsplit(":", 1)[1])
    )
    writer.write(b"SET stream 1\r\nGET stream\r\nQUIT\r\n")
    await writer.drain()
    assert await reader.read(-1) == b"+OK\r\n$1\r\n1\r\n+OK\r\n"
    writer.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        await writer.wait_closed()
