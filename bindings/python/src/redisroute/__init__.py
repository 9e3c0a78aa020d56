"""Programs written for one Redis server, on a Redis Cluster.

    redis.Redis(connection_pool=redisroute.ConnectionPool.from_url("redis://any-node:6379"))

See ConnectionPool, patch, connect, read_policy, Events, statistics, check_config; redisroute.asyncio and redisroute.valkey.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._library import version
from ._patch import Patch, patch, unpatch
from .client import Client, Error, Pipeline, ReplyError, connect
from .event import Event, Events
from .policy import read_policy
from .process import Statistic, check_config, count_commands, statistics, statistics_text
from .session import Session
from .tls import Tls

if TYPE_CHECKING:
    from . import asyncio as asyncio
    from . import valkey as valkey
    from .redis_py import BlockingConnectionPool as BlockingConnectionPool
    from .redis_py import Connection as Connection
    from .redis_py import ConnectionPool as ConnectionPool
    from .redis_py import SSLConnection as SSLConnection

__version__ = "0.1.0"
__all__ = [
    "BlockingConnectionPool",
    "Client",
    "Connection",
    "ConnectionPool",
    "Error",
    "Event",
    "Events",
    "Patch",
    "Pipeline",
    "ReplyError",
    "SSLConnection",
    "Session",
    "Statistic",
    "Tls",
    "check_config",
    "connect",
    "count_commands",
    "patch",
    "read_policy",
    "statistics",
    "statistics_text",
    "unpatch",
    "version",
]


def __getattr__(name: str) -> Any:
    # redis-py and valkey-py are imported by those who use them.
    import importlib

    if name in ("BlockingConnectionPool", "Connection", "ConnectionPool", "SSLConnection"):
        return getattr(importlib.import_module("redisroute.redis_py"), name)
    if name in ("asyncio", "valkey"):
        return importlib.import_module(f"redisroute.{name}")
    raise AttributeError(f"module 'redisroute' has no attribute {name!r}")
