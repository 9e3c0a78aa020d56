"""redis-py's RedisCluster, and its plain Redis over redisroute: the same commands on the same cluster,
turn by turn in one process. See ../bindings.sh.

    bench.py PORT [ROUNDS]
"""

import asyncio
import statistics
import sys
import time

import redis
import redis.asyncio
from redis._parsers import _HiredisParser, _RESP2Parser

import redisroute
import redisroute.asyncio

PORT = int(sys.argv[1])
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 15
URL = f"redis://127.0.0.1:{PORT}"
KEYS = [f"key:{i * 7919:012d}" for i in range(300)]
VALUE = "value-of-16-byte"
PIPELINE = 100
AT_ONCE = 1000  # commands of one round


def get(client):
    for i in range(AT_ONCE):
        client.get(KEYS[i % 300])


def set_(client):
    for i in range(AT_ONCE):
        client.set(KEYS[i % 300], VALUE)


def pipelined(name, *args):
    def run(client):
        for begin in range(0, 2 * AT_ONCE, PIPELINE):
            with client.pipeline(transaction=False) as pipe:
                for i in range(begin, begin + PIPELINE):
                    getattr(pipe, name)(KEYS[i % 300], *args)
                pipe.execute()

    return run


async def async_get(client):
    for i in range(AT_ONCE):
        await client.get(KEYS[i % 300])


async def async_set(client):
    for i in range(AT_ONCE):
        await client.set(KEYS[i % 300], VALUE)


def async_pipelined(name, *args):
    async def run(client):
        for begin in range(0, 2 * AT_ONCE, PIPELINE):
            async with client.pipeline(transaction=False) as pipe:
                for i in range(begin, begin + PIPELINE):
                    getattr(pipe, name)(KEYS[i % 300], *args)
                await pipe.execute()

    return run


WAYS = {
    "GET, depth 1": (get, async_get, AT_ONCE),
    "SET, depth 1": (set_, async_set, AT_ONCE),
    "GET, pipeline of 100": (pipelined("get"), async_pipelined("get"), 2 * AT_ONCE),
    "SET, pipeline of 100": (
        pipelined("set", VALUE),
        async_pipelined("set", VALUE),
        2 * AT_ONCE,
    ),
}


class Times:
    """Of one client: wall and processor time of each round."""

    def __init__(self):
        self.wall, self.processor = [], []

    def start(self):
        self.began = time.perf_counter(), time.process_time()

    def stop(self):
        self.wall.append(time.perf_counter() - self.began[0])
        self.processor.append(time.process_time() - self.began[1])


def report(what, count, theirs, ours):
    for unit, a, b in (
        ("wall", theirs.wall, ours.wall),
        ("processor", theirs.processor, ours.processor),
    ):
        a, b = (statistics.median(t) / count * 1e6 for t in (a, b))
        print(f"| {what + ': ' + unit + ', us':58} | {a:10.2f} | {b:10.2f} | {b / a:8.3f}x |")


def compare(title, theirs, ours):
    for name, (run, _, count) in WAYS.items():
        times = Times(), Times()
        for _ in range(ROUNDS):
            for client, its in zip((theirs, ours), times):
                its.start()
                run(client)
                its.stop()
        report(f"{title}, {name}", count, *times)
    theirs.close()
    ours.close()


async def compare_async(title, theirs, ours):
    for name, (_, run, count) in WAYS.items():
        times = Times(), Times()
        for _ in range(ROUNDS):
            for client, its in zip((theirs, ours), times):
                its.start()
                await run(client)
                its.stop()
        report(f"{title}, {name}", count, *times)
    await theirs.aclose()
    await ours.aclose()


def pair(**options):
    pool = redisroute.ConnectionPool.from_url(URL, **options)
    theirs = redis.RedisCluster.from_url(URL, **options)
    ours = redis.Redis.from_pool(pool)
    for client in theirs, ours:
        set_(client)
        get(client)
    return theirs, ours


async def async_pair():
    pool = redisroute.asyncio.ConnectionPool.from_url(URL)
    theirs = redis.asyncio.RedisCluster.from_url(URL)
    ours = redis.asyncio.Redis.from_pool(pool)
    for client in theirs, ours:
        await async_set(client)
    return theirs, ours


async def main_async():
    await compare_async("asyncio", *await async_pair())


print(f"| {'redis-py ' + redis.__version__:58} | {'Cluster':>10} | redisroute | of theirs |")
print(f"| {'-' * 58} | ---------: | ---------: | --------: |")
compare("hiredis' parser", *pair(parser_class=_HiredisParser))
compare("Python's parser", *pair(parser_class=_RESP2Parser))
asyncio.run(main_async())
