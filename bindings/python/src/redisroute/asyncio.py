"""redis.asyncio: redisroute.asyncio.Connection, ConnectionPool and BlockingConnectionPool."""

from __future__ import annotations

from redis.asyncio import connection as _redis

from ._connection import SessionPool
from ._stream import SessionConnection, TlsConnection


class Connection(SessionConnection, _redis.Connection):
    """redis.asyncio's Connection over a session. It takes what that takes, and `read_policy`."""


class SSLConnection(TlsConnection, _redis.SSLConnection):
    """redis.asyncio's SSLConnection over a session with TLS: see redisroute.SSLConnection."""


class ConnectionPool(SessionPool, _redis.ConnectionPool):
    """redis.asyncio's ConnectionPool, of connections that are sessions: see
    redisroute.ConnectionPool. No thread: the session's descriptor is in the loop."""

    of = Connection
    of_tls = SSLConnection


class BlockingConnectionPool(SessionPool, _redis.BlockingConnectionPool):
    """redis.asyncio's BlockingConnectionPool, of connections that are sessions."""

    of = Connection
    of_tls = SSLConnection


__all__ = ["BlockingConnectionPool", "Connection", "ConnectionPool", "SSLConnection"]
