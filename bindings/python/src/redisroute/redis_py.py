"""redis-py: redisroute.Connection, ConnectionPool and BlockingConnectionPool."""

from __future__ import annotations

from redis import connection as _redis

from ._connection import SessionConnection, SessionPool


class Connection(SessionConnection, _redis.Connection):
    """redis-py's Connection over a session. It takes what that takes, and `read_policy`."""


class ConnectionPool(SessionPool, _redis.ConnectionPool):
    """redis-py's ConnectionPool, of connections that are sessions of redisroute.

    The constructor and from_url take what redis-py's own take, and read_policy: which nodes answer
    commands that only read ("REPLICA", "PREFER_REPLICA", "ANY" …). rediss:// is refused, unix://
    is left to redis-py."""

    of = Connection


class BlockingConnectionPool(SessionPool, _redis.BlockingConnectionPool):
    """redis-py's BlockingConnectionPool, of connections that are sessions: see ConnectionPool."""

    of = Connection


__all__ = ["BlockingConnectionPool", "Connection", "ConnectionPool"]
