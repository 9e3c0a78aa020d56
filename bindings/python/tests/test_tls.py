"""rediss://, on a cluster whose nodes speak nothing else."""

import os
import subprocess

import pytest
import redis
import redis.asyncio
import valkey

import redisroute
import redisroute.asyncio
import redisroute.valkey

KEYS = [f"key:{i}" for i in range(60)]


@pytest.fixture(scope="module")
def secure():
    """The URL of a node, and the folder of the certificates."""
    process = subprocess.Popen(
        [os.environ["REDISROUTE_CLUSTER_MAIN"], "3", "0", "tls"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    ports, folder = process.stdout.readline().split(), process.stdout.readline().strip()
    yield f"rediss://localhost:{ports[0]}", folder
    process.stdin.close()
    assert process.wait(60) == 0


@pytest.mark.parametrize("package", [redisroute, redisroute.valkey])
@pytest.mark.parametrize(
    "options", [{"ssl_ca_certs": "ca.pem"}, {"ssl_cert_reqs": "none"}], ids=["verified", "not"]
)
def test_sync(secure, package, options):
    url, folder = secure
    if "ssl_ca_certs" in options:
        options = {"ssl_ca_certs": f"{folder}/ca.pem", "ssl_certfile": f"{folder}/client.pem"}
        options["ssl_keyfile"] = f"{folder}/client.key"
    pool = package.ConnectionPool.from_url(url, **options)
    make = redis.Redis if package is redisroute else valkey.Valkey
    with make.from_pool(pool) as client:
        client.flushall()
        client.mset({key: 1 for key in KEYS})
        assert client.mget(KEYS) == [b"1"] * len(KEYS)
        assert client.dbsize() == len(KEYS)


async def test_asyncio(secure):
    url, folder = secure
    pool = redisroute.asyncio.ConnectionPool.from_url(url, ssl_ca_certs=f"{folder}/ca.pem")
    client = redis.asyncio.Redis.from_pool(pool)
    await client.mset({key: 1 for key in KEYS})
    assert await client.mget(KEYS) == [b"1"] * len(KEYS)
    await client.aclose()


def test_the_small_client(secure):
    url, folder = secure
    with redisroute.connect(url, tls=redisroute.Tls(ca=f"{folder}/ca.pem")) as client:
        client.command("SET", "key", 1)
        assert client.command("GET", "key") == b"1"


def test_a_name_for_all(secure):
    url, folder = secure
    options = {"ssl_ca_certs": f"{folder}/ca.pem", "retry": None}
    pool = redisroute.ConnectionPool.from_url(url, tls_server_name="redis.test", **options)
    assert redis.Redis.from_pool(pool).ping()
    pool = redisroute.ConnectionPool.from_url(url, tls_server_name="elsewhere.test", **options)
    with pytest.raises(redis.ConnectionError):
        redis.Redis.from_pool(pool).ping()


def test_who_is_not_trusted(secure):
    url, folder = secure
    pool = redisroute.ConnectionPool.from_url(
        url, ssl_ca_certs=f"{folder}/other-ca.pem", retry=None
    )
    with pytest.raises(redis.ConnectionError):
        redis.Redis.from_pool(pool).ping()
    pool = redisroute.ConnectionPool.from_url(url, ssl_ca_certs=f"{folder}/none.pem", retry=None)
    with pytest.raises(redis.ConnectionError, match="none.pem"):
        redis.Redis.from_pool(pool).ping()


@pytest.mark.parametrize(
    "option",
    [
        {"ssl_ca_data": "data"},
        {"ssl_password": "secret"},
        {"ssl_ciphers": "ALL"},
    ],
    ids=lambda option: next(iter(option)),
)
def test_what_is_not_supported(secure, option):
    for package in (redisroute, redisroute.asyncio):
        pool = package.ConnectionPool.from_url(secure[0], password="p", **option)
        with pytest.raises((ValueError, TypeError), match=next(iter(option))):
            pool.make_connection()


def test_patch(secure):
    url, folder = secure
    with redisroute.patch():
        with redis.Redis.from_url(url, ssl_ca_certs=f"{folder}/ca.pem") as client:
            client.flushall()
            client.mset({key: 1 for key in KEYS})
            assert client.dbsize() == len(KEYS)


async def test_patch_asyncio(secure):
    url, folder = secure
    with redisroute.patch():
        client = redis.asyncio.Redis.from_url(url, ssl_ca_certs=f"{folder}/ca.pem")
        await client.flushall()
        await client.mset({key: 1 for key in KEYS})
        assert await client.dbsize() == len(KEYS)
        await client.aclose()
