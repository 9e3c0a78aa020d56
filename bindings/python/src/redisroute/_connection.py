"""Connections of redis-py and of valkey-py over sessions. Both packages have the same base, and
what is said of redis-py here holds for both."""

from __future__ import annotations

import functools
import importlib
from typing import Any, Optional

from .session import Session


def _refuse_tls(connection: Any) -> None:
    if type(connection).__name__ == "SSLConnection" or hasattr(connection, "ssl_context"):
        raise ValueError("redisroute: TLS (rediss://) is not supported")


def open_session(connection: Any) -> Session:
    """What a connection's _connect returns in place of a socket."""
    return Session(
        connection.host,
        connection.port,
        connect_timeout=connection.socket_connect_timeout,
        timeout=connection.socket_timeout,
        read_policy=getattr(connection, "read_policy", None),
    )


class SessionConnection:
    """Mixed into a Connection class of redis-py: its socket is a session."""

    def __init__(self, *args: Any, read_policy: Optional[str] = None, **kwargs: Any) -> None:
        self.read_policy = read_policy
        super().__init__(*args, **kwargs)

    def _connect(self) -> Session:
        _refuse_tls(self)
        return open_session(self)

    def can_read(self, timeout: Optional[float] = 0) -> bool:
        """As redis-py's; a descriptor that is readable because a session has work to do inside
        is no reply."""
        wait_for_reply(self, timeout)
        return bool(super().can_read(0))  # type: ignore[misc]


def wait_for_reply(connection: Any, timeout: Optional[float]) -> None:
    """Waits for bytes of the session, unless the connection's parser holds some already."""
    session = connection._sock
    if not isinstance(session, Session) or (timeout != 0 and _parser_has_data(connection._parser)):
        return
    try:
        session.wait(timeout)
    except OSError:
        pass  # the read that follows says so, in redis-py's own words


def _parser_has_data(parser: Any) -> bool:
    reader = getattr(parser, "_reader", None)
    if reader is not None:
        return bool(reader.has_data())
    buffer = getattr(parser, "_buffer", None)
    return buffer is not None and bool(buffer.unread_bytes())


def pool_class(package: str, connection: type) -> type:
    """A ConnectionPool of the package whose connections are of that class."""
    base = importlib.import_module(f"{package}.connection").ConnectionPool

    class ConnectionPool(base):  # type: ignore[misc,valid-type]
        __doc__ = f"""{package}'s ConnectionPool, of connections that are sessions of redisroute.

        from_url and the constructor take what {package}'s own take, and read_policy: which
        nodes answer commands that only read ("REPLICA", "PREFER_REPLICA", "ANY" …). rediss:// is refused,
        unix:// is left to {package}.
        """

        def __init__(self, connection_class: Any = connection, **kwargs: Any) -> None:
            if connection_class.__name__ == "SSLConnection":
                raise ValueError("redisroute: TLS (rediss://) is not supported")
            super().__init__(connection_class=connection_class, **kwargs)

    return ConnectionPool


# --- patch ---

_originals: dict[tuple[type, str], Any] = {}


def _replace(owner: type, name: str, replacement: Any) -> None:
    _originals[owner, name] = owner.__dict__.get(name)
    setattr(owner, name, replacement)


def _patch_sync(package: str) -> None:
    connection = importlib.import_module(f"{package}.connection")
    original, original_can_read = connection.Connection._connect, connection.Connection.can_read

    @functools.wraps(original)
    def _connect(self: Any) -> Any:
        return original(self) if isinstance(self, connection.SSLConnection) else open_session(self)

    @functools.wraps(original_can_read)
    def can_read(self: Any, timeout: Optional[float] = 0) -> Any:
        if not isinstance(self._sock, Session):
            return original_can_read(self, timeout)
        wait_for_reply(self, timeout)
        return original_can_read(self, 0)

    _replace(connection.Connection, "_connect", _connect)
    _replace(connection.Connection, "can_read", can_read)


def _patch_async(package: str) -> None:
    from . import _stream

    connection = importlib.import_module(f"{package}.asyncio.connection")
    original = connection.Connection._connect

    @functools.wraps(original)
    async def _connect(self: Any) -> None:
        if isinstance(self, connection.SSLConnection):
            await original(self)
        else:
            await _stream.connect(self)

    _replace(connection.Connection, "_connect", _connect)


def patch(package: str = "redis") -> None:
    """Routes every TCP connection that redis-py opens from now on, in both its forms, whoever made
    its pool; connections with TLS and UNIX sockets stay as they are. Connections that are open
    already are not touched. `package` may be "valkey". Any number of times."""
    if package not in ("redis", "valkey"):
        raise ValueError(f"redisroute: {package!r} is not a package that can be patched")
    if any(owner.__module__.split(".")[0] == package for owner, _ in _originals):
        return
    _patch_sync(package)
    _patch_async(package)


def unpatch(package: str = "redis") -> None:
    """Takes patch back: connections that are opened from now on are the package's own."""
    for owner, name in list(_originals):
        if owner.__module__.split(".")[0] != package:
            continue
        original = _originals.pop((owner, name))
        if original is None:
            delattr(owner, name)
        else:
            setattr(owner, name, original)
