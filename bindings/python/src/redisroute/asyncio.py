"""redis.asyncio: redisroute.asyncio.Connection and redisroute.asyncio.ConnectionPool."""

from __future__ import annotations

from redis.asyncio import connection as _redis

from ._connection import pool_class
from ._stream import SessionConnection


class Connection(SessionConnection, _redis.Connection):
    """redis.asyncio's Connection over a session."""


ConnectionPool = pool_class("redis.asyncio", Connection)

__all__ = ["Connection", "ConnectionPool"]
