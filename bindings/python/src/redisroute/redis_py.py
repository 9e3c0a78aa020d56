"""redis-py: redisroute.Connection, ConnectionPool and BlockingConnectionPool."""

from __future__ import annotations

from redis import connection as _redis

from ._connection import SessionConnection, SessionPool, TlsConnection


class Connection(SessionConnection, _redis.Connection):
    """redis-py's Connection over a session. It takes what that takes, and `read_policy`."""


class SSLConnection(TlsConnection, _redis.SSLConnection):
    """redis-py's SSLConnection over a session with TLS: all its connections to the servers use it. It
    takes ssl_ca_certs, ssl_ca_path, ssl_certfile, ssl_keyfile and ssl_cert_reqs, and tls_server_name;
    a ValueError says what else of redis-py's ssl_… it cannot."""


class ConnectionPool(SessionPool, _redis.ConnectionPool):
    """redis-py's ConnectionPool, of connections that are sessions of redisroute.

    The constructor and from_url take what redis-py's own take, and read_policy: which nodes answer
    commands that only read ("REPLICA", "PREFER_REPLICA", "ANY" …). rediss:// takes
    what SSLConnection takes; unix:// is left to redis-py."""

    of = Connection
    of_tls = SSLConnection


class BlockingConnectionPool(SessionPool, _redis.BlockingConnectionPool):
    """redis-py's BlockingConnectionPool, of connections that are sessions: see ConnectionPool."""

    of = Connection
    of_tls = SSLConnection


__all__ = ["BlockingConnectionPool", "Connection", "ConnectionPool", "SSLConnection"]
