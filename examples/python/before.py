"""Counts words. A plain redis-py program, written for one Redis server:

    python before.py redis://127.0.0.1:6379 some words and some more words
"""

import sys

import redis


def connect(url):
    return redis.Redis.from_url(url, decode_responses=True)


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
