"""Events: told while they happen, by whatever thread, and nobody is held up."""

import queue
import threading
import time

import pytest
import redis

import redisroute

SECONDS = 60


def kill(nodes, kind):
    for node in nodes:
        node.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")


def next_of(events, kind):
    until = time.monotonic() + SECONDS
    while True:
        event = events.get(timeout=max(0, until - time.monotonic()))
        if event.kind == kind:
            return event


def test_an_interrupted_subscription(url, nodes):
    with redisroute.Events() as events, redisroute.connect(url, timeout=SECONDS) as client:
        assert client.command("SUBSCRIBE", "news")[0] == b"subscribe"
        kill(nodes, "pubsub")
        heard = threading.Thread(target=client._reader.reply)  # whoever waits finds out
        heard.start()
        gap = next_of(events, "gap")
        assert "news" in gap.text and "\n" not in gap.text
        assert gap.fd == client._session.fileno()
        assert next_of(events, "resumed").fd == gap.fd
        nodes[0].publish("news", "hello")
        heard.join(SECONDS)
        assert not heard.is_alive()
        assert events.missed == 0


def test_many_threads(url, nodes):
    """Each uses a session of its own while connections break, and while another reads the events."""
    pool = redisroute.ConnectionPool.from_url(url, retry=redis.retry.Retry(redis.backoff.NoBackoff(), 5))
    kinds = set()

    def use(number):
        client = redis.Redis(connection_pool=pool)
        for i in range(200):
            client.get(f"key:{number}:{i}")

    def collect(events):
        for event in events:
            kinds.add(event.kind)

    with redisroute.Events() as events:
        users = [threading.Thread(target=use, args=(number,)) for number in range(8)]
        collector = threading.Thread(target=collect, args=(events,))
        for thread in users + [collector]:
            thread.start()
        while any(user.is_alive() for user in users):
            kill(nodes, "normal")
            time.sleep(0.01)
        use("last")
        kill(nodes, "normal")
        use("last")
        until = time.monotonic() + SECONDS
        while "link_lost" not in kinds:
            assert time.monotonic() < until
            time.sleep(0.01)
    collector.join(SECONDS)
    assert not collector.is_alive()
    pool.disconnect()


def test_no_room(url, nodes):
    with redisroute.Events(room=1) as events, redisroute.connect(url, timeout=SECONDS) as client:
        for _ in range(3):
            for i in range(20):
                client.command("GET", f"key:{i}")
            kill(nodes, "normal")
        for i in range(20):
            client.command("GET", f"key:{i}")
        assert events.missed > 0
        assert events.get(timeout=0).text
        with pytest.raises(queue.Empty):
            events.get(timeout=0)
    events.close()
    assert list(events) == []
    with pytest.raises(queue.Empty):
        events.get()
