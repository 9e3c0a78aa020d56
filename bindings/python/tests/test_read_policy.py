"""Reads go where the pool's read_policy says, as the servers themselves counted."""

import asyncio

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


def test_some_commands(pair):
    masters, replicas = pair
    before = reads(masters), reads(replicas)
    with redis.Redis.from_pool(redisroute.ConnectionPool(port=masters[0])) as client:
        for number in range(READS):
            with redisroute.read_policy("replica"):
                client.get(f"key:{number}")
                with redisroute.read_policy(None):
                    client.get(f"key:{number}")
                with redisroute.read_policy("MASTER"):
                    client.get(f"key:{number}")
                client.pipeline(transaction=False).get("key:1").get("key:2").execute()
            client.get(f"key:{number}")
    assert (reads(masters) - before[0], reads(replicas) - before[1]) == (3 * READS, 3 * READS)


async def test_some_commands_of_a_task(pair):
    masters, replicas = pair
    before = reads(masters), reads(replicas)
    pool = redisroute.asyncio.ConnectionPool.from_url(f"redis://127.0.0.1:{masters[0]}")
    client = redis.asyncio.Redis.from_pool(pool)

    async def read(policy):
        with redisroute.read_policy(policy):
            for number in range(READS):
                await client.get(f"key:{number}")

    await asyncio.gather(read("REPLICA"), read(None), read("REPLICA"))
    await client.aclose()
    assert (reads(masters) - before[0], reads(replicas) - before[1]) == (READS, 2 * READS)


def test_no_such_policy_of_some_commands():
    with pytest.raises(ValueError, match="NEAREST"):
        with redisroute.read_policy("NEAREST"):
            pass
