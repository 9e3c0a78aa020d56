"""valkey-py: redisroute.valkey.Connection and redisroute.valkey.ConnectionPool."""

from __future__ import annotations

from valkey import connection as _valkey

from .._connection import SessionConnection, pool_class


class Connection(SessionConnection, _valkey.Connection):
    """valkey-py's Connection over a session."""


ConnectionPool = pool_class("valkey", Connection)

__all__ = ["Connection", "ConnectionPool"]
