"""valkey-py: redisroute.valkey.Connection, ConnectionPool and BlockingConnectionPool."""

from __future__ import annotations

from valkey import connection as _valkey

from .._connection import SessionConnection, SessionPool


class Connection(SessionConnection, _valkey.Connection):
    """valkey-py's Connection over a session. It takes what that takes, and `read_policy`."""


class ConnectionPool(SessionPool, _valkey.ConnectionPool):
    """valkey-py's ConnectionPool, of connections that are sessions of redisroute.

    The constructor and from_url take what valkey-py's own take, and read_policy: which nodes answer
    commands that only read ("REPLICA", "PREFER_REPLICA", "ANY" …). rediss:// is refused, unix://
    is left to valkey-py."""

    of = Connection


class BlockingConnectionPool(SessionPool, _valkey.BlockingConnectionPool):
    """valkey-py's BlockingConnectionPool, of connections that are sessions: see ConnectionPool."""

    of = Connection


__all__ = ["BlockingConnectionPool", "Connection", "ConnectionPool"]
