"""redis-py: redisroute.Connection and redisroute.ConnectionPool."""

from __future__ import annotations

from redis import connection as _redis

from ._connection import SessionConnection, pool_class


class Connection(SessionConnection, _redis.Connection):
    """redis-py's Connection over a session."""


ConnectionPool = pool_class("redis", Connection)

__all__ = ["Connection", "ConnectionPool"]
