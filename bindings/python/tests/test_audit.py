"""REDISROUTE_AUDIT: the program and its one server as they are, and a report of what a cluster would
say."""

import json
import os
import subprocess
import sys
import time

import redis
from conftest import free_port

PROGRAM = """
import sys
import redis
import redisroute

pool = redisroute.ConnectionPool.from_url(sys.argv[1])
with redis.Redis.from_pool(pool) as client:
    client.set("a", "hunter2")
    assert client.get("a") == b"hunter2"
    assert client.rename("a", "b")
    with client.pipeline(transaction=True) as pipeline:
        assert pipeline.incr("c").incr("d").execute() == [1, 1]
pool.disconnect()
"""


def start_server(folder):
    port = free_port()
    server = subprocess.Popen(
        ["redis-server", "--port", str(port), "--save", "", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    until = time.monotonic() + 60
    while True:
        try:
            with redis.Redis(port=port) as client:
                client.ping()
            return server, port
        except redis.exceptions.ConnectionError:
            assert time.monotonic() < until
            time.sleep(0.05)


def test_redis_py(tmp_path):
    server, port = start_server(tmp_path)
    try:
        environment = dict(os.environ, REDISROUTE_AUDIT=str(tmp_path / "audit"))
        command = [sys.executable, "-c", PROGRAM, f"redis://127.0.0.1:{port}"]
        subprocess.run(command, env=environment, check=True, timeout=60)
    finally:
        server.terminate()
        server.wait(60)
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    found = {(line["command"], line["finding"]): line for line in lines[1:]}
    assert found["SET", "works"]["count"] == 1
    assert found["RENAME", "crossslot"]["details"] == ["a", "b"]
    assert found["EXEC", "transaction"]["details"] == ["c", "d"]
    assert lines[0]["commands"] == sum(line["count"] for line in lines[1:])
    assert "hunter2" not in (tmp_path / "audit").read_text()
