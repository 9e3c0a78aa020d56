"""asyncio over sessions: a transport whose descriptor is the session's own. No thread."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any, Iterable, Optional, Union

from .session import READ_SIZE, Session
from .tls import Tls, tls_of

# At most so much is read before the loop's other callbacks have their turn.
_READS_A_TURN = 16


class SessionTransport(asyncio.Transport):
    """The transport of a connected session. Writing never has to wait: the session takes all."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, session: Session, protocol: asyncio.Protocol
    ) -> None:
        super().__init__({"peername": session.getpeername()})
        self._loop = loop
        self._session = session
        self._protocol = protocol
        self._fd = session.fileno()
        self._closing = False
        self._paused = False
        protocol.connection_made(self)
        loop.add_reader(self._fd, self._read_ready)

    def _read_ready(self) -> None:
        try:
            for _ in range(_READS_A_TURN):
                if self._closing or self._paused:
                    return
                data = self._session.receive_now()
                if data is None:
                    return
                if not data:
                    self._protocol.eof_received()
                    self.close()
                    return
                self._protocol.data_received(data)
                if len(data) < READ_SIZE:
                    return  # that was all, or else the descriptor stays readable
        except OSError as error:
            self._end(error)

    def _end(self, error: Optional[Exception]) -> None:
        if self._closing:
            return
        self._closing = True
        if not self._paused:
            self._loop.remove_reader(self._fd)
        self._session.close()
        protocol: Any = self._protocol
        self._loop.call_soon(protocol.connection_lost, error)

    # --- what asyncio asks of a transport ---

    def write(self, data: Union[bytes, bytearray, memoryview]) -> None:
        if self._closing:
            return
        try:
            self._session.sendall(data)
        except OSError as error:
            self._end(error)

    def writelines(self, list_of_data: Iterable[Union[bytes, bytearray, memoryview]]) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0 if self._closing else self._session.kept()

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._end(None)

    def abort(self) -> None:
        self._end(None)

    def is_reading(self) -> bool:
        return not self._closing and not self._paused

    def pause_reading(self) -> None:
        if not self._closing and not self._paused:
            self._paused = True
            self._loop.remove_reader(self._fd)

    def resume_reading(self) -> None:
        if not self._closing and self._paused:
            self._paused = False
            self._loop.add_reader(self._fd, self._read_ready)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol


async def _until_connected(loop: asyncio.AbstractEventLoop, session: Session) -> None:
    decided = loop.create_future()

    def look() -> None:
        try:
            if session.connected() and not decided.done():
                decided.set_result(None)
        except OSError as error:
            if not decided.done():
                decided.set_exception(error)

    loop.add_reader(session.fileno(), look)
    look()
    fd = session.fileno()
    try:
        await decided
    except BaseException:
        loop.remove_reader(fd)
        session.close()
        raise
    loop.remove_reader(fd)


async def open_session(
    host: str, port: int, read_policy: Optional[str] = None, tls: Optional[Tls] = None
) -> Session:
    """A connected session. Names are looked up by the loop; of several addresses the first that
    accepts is taken."""
    loop = asyncio.get_running_loop()
    failure: Optional[OSError] = None
    if tls is not None:  # certificates are for names, so the library gets the name; files are read
        session = await loop.run_in_executor(
            None,
            lambda: Session(host, port, wait=False, read_policy=read_policy, tls=tls),
        )
        await _until_connected(loop, session)
        return session
    for *_, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        try:
            session = Session(str(address[0]), port, wait=False, read_policy=read_policy)
            await _until_connected(loop, session)
            return session
        except OSError as error:
            failure = error
    raise failure or OSError(errno.EHOSTUNREACH, f"redisroute: {host} has no address")


async def open_connection(
    host: str,
    port: int,
    *,
    limit: int = 2**16,
    read_policy: Optional[str] = None,
    tls: Optional[Tls] = None,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """asyncio.open_connection, over a session."""
    loop = asyncio.get_running_loop()
    session = await open_session(host, port, read_policy, tls)
    reader = asyncio.StreamReader(limit=limit, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport = SessionTransport(loop, session, protocol)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def connect(connection: Any, read_policy: Optional[str]) -> None:
    """The _connect of an asynchronous connection of redis-py."""
    connection._reader, connection._writer = await asyncio.wait_for(
        open_connection(
            connection.host, connection.port, read_policy=read_policy, tls=tls_of(connection)
        ),
        connection.socket_connect_timeout,
    )


class SessionConnection:
    """Mixed into an asynchronous Connection class of redis-py."""

    def __init__(self, *args: Any, read_policy: Optional[str] = None, **kwargs: Any) -> None:
        self.read_policy = read_policy
        super().__init__(*args, **kwargs)

    async def _connect(self) -> None:
        await connect(self, self.read_policy)


class TlsConnection(SessionConnection):
    """Mixed into an asynchronous SSLConnection class of redis-py: its session uses TLS."""

    def __init__(self, *args: Any, tls_server_name: Optional[str] = None, **kwargs: Any) -> None:
        self.tls_server_name = tls_server_name
        super().__init__(*args, **kwargs)
        tls_of(self)  # what cannot be is said now
