"""A real cluster, by the fixture of the C tests: REDISROUTE_CLUSTER_MAIN names the program."""

import os
import socket
import subprocess
import time

import pytest
import redis


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def reads(ports):
    """How many GETs these nodes have executed, as they say themselves."""
    total = 0
    for port in ports:
        with redis.Redis(port=port) as node:
            total += node.info("commandstats").get("cmdstat_get", {}).get("calls", 0)
    return total


def cluster(masters, replicas):
    process = subprocess.Popen(
        [os.environ["REDISROUTE_CLUSTER_MAIN"], str(masters), str(replicas)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield [int(port) for port in process.stdout.readline().split()]
    process.stdin.close()
    assert process.wait(60) == 0


def slots(node):
    """CLUSTER SLOTS, with or without the shape that redis-py gives it."""
    reply = node.execute_command("CLUSTER SLOTS")
    if isinstance(reply, dict):
        return list(reply.values())
    return [{"replicas": shard[3:]} for shard in reply]


def await_replicas(port, masters):
    """Servers do not name a replica that has received nothing yet."""
    until = time.monotonic() + 60
    with redis.Redis(port=port) as node:
        while not all(shard["replicas"] for shard in slots(node)):
            assert time.monotonic() < until
            for master in masters:
                with redis.Redis(port=master) as writer:
                    writer.flushall()  # goes to the replicas, like any write
            time.sleep(0.05)


@pytest.fixture(scope="session")
def ports():
    """Of the nodes of a cluster of three masters."""
    yield from cluster(3, 0)


@pytest.fixture(scope="module")
def pair():
    """The ports of the masters and of the replicas of a cluster of three and three."""
    for ports in cluster(3, 1):
        for port in ports:
            await_replicas(port, ports[:3])
        yield ports[:3], ports[3:]


@pytest.fixture
def nodes(ports):
    """Connections past the library, to see what really happened."""
    clients = [redis.Redis(port=port) for port in ports]
    for client in clients:
        client.flushall()
    yield clients
    for client in clients:
        client.close()


@pytest.fixture
def url(ports, nodes):
    return f"redis://127.0.0.1:{ports[0]}"
