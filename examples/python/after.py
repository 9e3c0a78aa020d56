"""The same program on a Redis Cluster; the URL names any of its nodes:

    python after.py redis://127.0.0.1:7000 some words and some more words

What differs from before.py is how it connects. Where not even that may be touched, a
`redisroute.patch()` before the program starts does it.
"""

import sys

import redis
import redisroute


def connect(url):
    pool = redisroute.ConnectionPool.from_url(url, decode_responses=True)
    return redis.Redis(connection_pool=pool)


def count(r, words):
    with r.pipeline(transaction=False) as pipe:
        for word in words:
            pipe.incr(f"count:{word}")
        pipe.execute()


def report(r):
    keys = sorted(r.scan_iter("count:*"))
    for key, number in zip(keys, r.mget(keys)):
        print(key[len("count:") :], number)


def main():
    if len(sys.argv) < 3:
        sys.exit(f"usage: {sys.argv[0]} URL WORD...")
    r = connect(sys.argv[1])
    count(r, sys.argv[2:])
    report(r)


main()
