"""Reads go where the pool's read_policy says, as the servers themselves counted."""

import pytest
import redis
import redis.asyncio

import redisroute
import redisroute.asyncio
from conftest import reads

READS = 50


@pytest.mark.parametrize("policy", ["MASTER", "REPLICA"])
def test_redis_py(pair, policy):
    masters, replicas = pair
    before = reads(masters), reads(replicas)
    url = f"redis://127.0.0.1:{masters[0]}"
    pool = redisroute.ConnectionPool.from_url(url, read_policy=policy)
    with redis.Redis.from_pool(pool) as client:
        for number in range(READS):
            client.get(f"key:{number}")
    asked, idle = (masters, replicas) if policy == "MASTER" else (replicas, masters)
    assert reads(asked) - before[policy != "MASTER"] == READS
    assert reads(idle) == before[policy == "MASTER"]


async def test_asyncio(pair):
    masters, replicas = pair
    before = reads(replicas)
    url = f"redis://127.0.0.1:{masters[0]}"
    pool = redisroute.asyncio.ConnectionPool.from_url(url, read_policy="REPLICA")
    client = redis.asyncio.Redis.from_pool(pool)
    for number in range(READS):
        await client.get(f"key:{number}")
    await client.aclose()
    assert reads(replicas) - before == READS


def test_the_small_client(pair):
    masters, replicas = pair
    before = reads(replicas)
    with redisroute.connect(f"redis://127.0.0.1:{masters[0]}?read_policy=replica") as client:
        for number in range(READS):
            client.command("GET", f"key:{number}")
    assert reads(replicas) - before == READS


def test_a_blocking_pool(pair):
    masters, replicas = pair
    before = reads(replicas)
    pool = redisroute.BlockingConnectionPool(port=masters[0], read_policy="REPLICA", timeout=5)
    with redis.Redis.from_pool(pool) as client:
        for number in range(READS):
            client.get(f"key:{number}")
    assert reads(replicas) - before == READS


def test_no_such_policy(pair):
    pool = redisroute.ConnectionPool(port=pair[0][0], read_policy="NEAREST", retry=None)
    with pytest.raises(redis.ConnectionError, match="read_policy"):
        redis.Redis(connection_pool=pool).ping()
