"""valkey.asyncio: redisroute.valkey.asyncio.Connection, ConnectionPool and BlockingConnectionPool."""

from __future__ import annotations

from valkey.asyncio import connection as _valkey

from .._connection import SessionPool
from .._stream import SessionConnection, TlsConnection


class Connection(SessionConnection, _valkey.Connection):
    """valkey.asyncio's Connection over a session. It takes what that takes, and `read_policy`."""


class SSLConnection(TlsConnection, _valkey.SSLConnection):
    """valkey.asyncio's SSLConnection over a session with TLS: see redisroute.SSLConnection."""


class ConnectionPool(SessionPool, _valkey.ConnectionPool):
    """valkey.asyncio's ConnectionPool, of connections that are sessions: see
    redisroute.ConnectionPool. No thread: the session's descriptor is in the loop."""

    of = Connection
    of_tls = SSLConnection


class BlockingConnectionPool(SessionPool, _valkey.BlockingConnectionPool):
    """valkey.asyncio's BlockingConnectionPool, of connections that are sessions."""

    of = Connection
    of_tls = SSLConnection


__all__ = ["BlockingConnectionPool", "Connection", "ConnectionPool", "SSLConnection"]
