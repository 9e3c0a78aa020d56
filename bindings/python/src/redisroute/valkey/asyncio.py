"""valkey.asyncio: Connection and ConnectionPool over sessions."""

from __future__ import annotations

from valkey.asyncio import connection as _valkey

from .._connection import pool_class
from .._stream import SessionConnection


class Connection(SessionConnection, _valkey.Connection):
    """valkey.asyncio's Connection over a session."""


ConnectionPool = pool_class("valkey.asyncio", Connection)

__all__ = ["Connection", "ConnectionPool"]
