"""Connections of redis-py and of valkey-py over sessions. Both packages have the same base, and
what is said of redis-py here holds for both."""

from __future__ import annotations

import socket
from typing import Any, Callable, Optional

from .session import Session
from .tls import tls_of


def open_session(connection: Any, read_policy: Optional[str]) -> Session:
    """What a connection's _connect returns in place of a socket."""
    return Session(
        connection.host,
        connection.port,
        connect_timeout=connection.socket_connect_timeout,
        timeout=connection.socket_timeout,
        read_policy=read_policy,
        tls=tls_of(connection),
    )


def _parser_has_data(parser: Any) -> bool:
    reader = getattr(parser, "_reader", None)
    if reader is not None:
        return bool(reader.has_data())
    buffer = getattr(parser, "_buffer", None)
    return buffer is not None and bool(buffer.unread_bytes())


def can_read(
    connection: Any, original: Callable[[Optional[float]], Any], timeout: Optional[float]
) -> bool:
    """redis-py's can_read. A descriptor that is readable because a session has work to do inside
    is no reply, so the session is asked. What is wrong redis-py says in its own words."""
    if connection._sock is None:
        connection.connect()
    session = connection._sock
    if not isinstance(session, Session):
        return bool(original(timeout))
    if _parser_has_data(connection._parser):
        return True
    try:
        if not session.wait(timeout):
            return False
        if session.recv(1, socket.MSG_PEEK):
            return True
    except BlockingIOError:
        return False
    except OSError:
        pass
    return bool(original(0))


class SessionConnection:
    """Mixed into a Connection class of redis-py: its socket is a session."""

    def __init__(self, *args: Any, read_policy: Optional[str] = None, **kwargs: Any) -> None:
        self.read_policy = read_policy
        super().__init__(*args, **kwargs)

    def _connect(self) -> Session:
        return open_session(self, self.read_policy)

    def can_read(self, timeout: Optional[float] = 0) -> bool:
        """Whether there is a reply to be read."""
        return can_read(self, super().can_read, timeout)  # type: ignore[misc]


class TlsConnection(SessionConnection):
    """Mixed into an SSLConnection class of redis-py: its session uses TLS."""

    def __init__(self, *args: Any, tls_server_name: Optional[str] = None, **kwargs: Any) -> None:
        self.tls_server_name = tls_server_name
        super().__init__(*args, **kwargs)
        tls_of(self)  # what cannot be is said now


class SessionPool:
    """Mixed into a connection pool of redis-py: its connections are of the class `of`, or `of_tls`
    where from_url finds rediss://."""

    of: Any = None
    of_tls: Any = None

    def __init__(self, *args: Any, connection_class: Any = None, **kwargs: Any) -> None:
        chosen = connection_class or self.of
        if chosen.__name__ == "SSLConnection":
            chosen = self.of_tls
        super().__init__(*args, connection_class=chosen, **kwargs)  # type: ignore[call-arg]
