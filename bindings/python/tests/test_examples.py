"""The programs in examples/python: one on one server, and what became of it on a cluster."""

import os
import pathlib
import subprocess
import sys
import time

import pytest
import redis

from conftest import free_port

EXAMPLES = pathlib.Path(os.environ["REDISROUTE_SOURCE"]) / "examples" / "python"
WORDS = "the more words there are the more masters have some of the words".split()
COUNTS = "are 1\nhave 1\nmasters 1\nmore 2\nof 1\nsome 1\nthe 3\nthere 1\nwords 2\n"


@pytest.fixture
def server(tmp_path):
    """The port of a server that is no cluster."""
    port = free_port()
    process = subprocess.Popen(
        ["redis-server", "--port", str(port), "--save", "", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
    )
    until = time.monotonic() + 60
    while True:
        try:
            redis.Redis(port=port).ping()
            break
        except redis.ConnectionError:
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.05)
    yield port
    process.terminate()
    process.wait(60)


def run(*command):
    return subprocess.run(
        [sys.executable, *command], check=True, capture_output=True, text=True, timeout=120
    ).stdout


def test_before_and_after(server, ports, nodes):
    for node in nodes:
        node.flushall()
    before = run(EXAMPLES / "before.py", f"redis://127.0.0.1:{server}", *WORDS)
    after = run(EXAMPLES / "after.py", f"redis://127.0.0.1:{ports[1]}", *WORDS)
    assert before == after == COUNTS
    assert all(node.dbsize() > 0 for node in nodes)


def test_before_untouched(ports, nodes):
    for node in nodes:
        node.flushall()
    program = f"import redisroute, runpy; redisroute.patch(); runpy.run_path({str(EXAMPLES / 'before.py')!r})"
    assert run("-c", program, f"redis://127.0.0.1:{ports[2]}", *WORDS) == COUNTS
