"""A real cluster, by the fixture of the C tests: REDISROUTE_CLUSTER_MAIN names the program."""

import os
import subprocess

import pytest
import redis


@pytest.fixture(scope="session")
def ports():
    """Of the nodes of a cluster of three masters."""
    process = subprocess.Popen(
        [os.environ["REDISROUTE_CLUSTER_MAIN"], "3", "0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield [int(port) for port in process.stdout.readline().split()]
    process.stdin.close()
    assert process.wait(60) == 0


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
