"""What mypy --strict has to say of a program that uses the package: nothing."""

import asyncio
from typing import Optional

import redis
import redis.asyncio

import redisroute
import redisroute.asyncio


def plain() -> Optional[str]:
    pool = redisroute.ConnectionPool.from_url("redis://any-node", read_policy="REPLICA")
    client = redis.Redis(connection_pool=pool, decode_responses=True)
    client.set("key", "value")
    blocking = redisroute.BlockingConnectionPool(host="any-node", max_connections=4, timeout=5)
    redis.Redis.from_pool(blocking).ping()
    with redisroute.patch(read_policy="ANY") as patched:
        patched.undo()
    with redisroute.read_policy("REPLICA"), redisroute.Events(room=10) as events:
        client.get("key")
        happened: redisroute.Event = events.get(timeout=0.1)
        print(happened.kind, happened.text, events.missed)
    return str(client.get("key"))


async def asynchronous() -> None:
    pool = redisroute.asyncio.ConnectionPool.from_url("redis://any-node")
    client = redis.asyncio.Redis(connection_pool=pool)
    await client.set("key", "value")


def direct() -> int:
    with redisroute.connect("redis://any-node", timeout=1, read_policy="REPLICA") as client:
        replies: list[object] = client.pipeline().command("GET", b"key").execute()
    redisroute.check_config("a.yaml:b.yaml")
    redisroute.count_commands()
    numbers = [number.value for number in redisroute.statistics() if number.labels]
    text: str = redisroute.statistics_text()
    session = redisroute.Session("any-node", 6379, wait=False)
    session.sendall(b"PING\r\n")
    received: bytes = session.recv(100)
    return sum(numbers) + len(replies) + len(text) + len(received)


if __name__ == "__main__":
    plain()
    asyncio.run(asynchronous())
    direct()
