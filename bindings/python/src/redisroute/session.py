"""A session: a connection to a cluster that looks like a connected socket to one server."""

from __future__ import annotations

import errno
import math
import os
import socket
import threading
import time
from typing import Any, Optional, Union

from ._library import ffi, library, text
from .policy import chosen
from .tls import Tls

READ_SIZE = 65536
_new_memory = ffi.new_allocator(should_clear_after_alloc=False)
# What the C library takes at most for a wait, in milliseconds.
_LONGEST_MS = 2**31 - 1


# One and the same since Python 3.10.
_TimedOut: Any = type("timeout", tuple({socket.timeout: 0, TimeoutError: 0}), {})


class _Memory(threading.local):
    """What a thread reads into before it makes bytes of it."""

    def __init__(self) -> None:
        self.chars: Any = _new_memory("char[]", READ_SIZE)


_memory = _Memory()


def _milliseconds(timeout: Optional[float]) -> int:
    if timeout is None:
        return -1
    return min(max(0, math.ceil(timeout * 1000)), _LONGEST_MS)


def _open(
    host: str,
    port: int,
    connect_timeout: Optional[float],
    read_policy: Optional[str],
    tls: Optional[Tls],
) -> Any:
    kept = []  # as long as the library looks at it

    def chars(value: Optional[str]) -> Any:
        if value is None:
            return ffi.NULL
        kept.append(ffi.new("char[]", os.fsencode(value)))
        return kept[-1]

    options = ffi.new("redisRouteOptions *")
    options.size = ffi.sizeof("redisRouteOptions")
    if connect_timeout is not None:
        options.connect_timeout_ms = max(1, _milliseconds(connect_timeout))
    options.read_policy = chars(read_policy)
    if tls is not None:
        options.tls = 1
        options.tls_ca = chars(tls.ca)
        options.tls_certificate = chars(tls.certificate)
        options.tls_key = chars(tls.key)
        options.tls_server_name = chars(tls.server_name)
        options.tls_no_verify = not tls.verify
    handle = library().redisRouteOpen(host.encode(), port, options)
    if handle == ffi.NULL:
        number = ffi.errno
        raise OSError(number, text(library().redisRouteErrorText(ffi.NULL)))
    return handle


class Session:
    """What redis-py calls a socket, as far as it uses one: bytes of commands in, bytes of replies
    out, in their order.

    Waiting releases the GIL, and a signal handler that raises ends it. A session is used by one
    thread at a time; others may close it, which ends a wait with ECANCELED. Errors are OSErrors,
    and a time-out is the built-in TimeoutError (socket.timeout).

    Opening looks a name up in the calling thread and, unless `wait` is false, waits until the
    connection is up or `connect_timeout` seconds have passed (None: the kernel's own limit).
    `read_policy` is that of REDISROUTE_READ_POLICY, for this session: "REPLICA", "ANY" …; `tls`: on
    all its connections; None for both: as configured.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        connect_timeout: Optional[float] = None,
        timeout: Optional[float] = None,
        wait: bool = True,
        read_policy: Optional[str] = None,
        tls: Optional[Tls] = None,
    ) -> None:
        self._lib = library()
        self._handle: Any = None
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._closing = False
        self._timeout: Optional[float] = None
        self._peer = (host, port)
        self._peeked = b""
        self.settimeout(timeout)
        handle = _open(host, port, connect_timeout, read_policy, tls)
        self._fd = self._lib.redisRouteFd(handle)
        self._handle = handle
        if wait:
            try:
                while not self.connected():
                    self.wait(None)
            except BaseException:
                self.close()
                raise

    # --- what a socket has ---

    def fileno(self) -> int:
        """Readable when there is something to read or to do; -1 once closed. For poll, not for
        read and write."""
        return -1 if self._handle is None else self._fd

    def settimeout(self, timeout: Optional[float]) -> None:
        """Seconds that a recv waits; None: without limit, 0: not at all."""
        if timeout is not None and timeout < 0:
            raise ValueError("Timeout value out of range")
        self._timeout = timeout

    def gettimeout(self) -> Optional[float]:
        """What settimeout set."""
        return self._timeout

    def setblocking(self, flag: bool) -> None:
        """settimeout(None) or settimeout(0)."""
        self.settimeout(None if flag else 0.0)

    def getpeername(self) -> tuple[str, int]:
        """The address that was dialled."""
        return self._peer

    def sendall(self, data: Union[bytes, bytearray, memoryview]) -> None:
        """Takes all of it, and does not wait for anybody. Reads go where `redisroute.read_policy` says,
        in whose block this is called."""
        if isinstance(data, bytes):
            self._write(data, len(data))
            return
        with ffi.from_buffer("char[]", data) as taken:
            self._write(taken, len(taken))

    def _write(self, taken: Any, size: int) -> None:
        policy = chosen()
        with self._lock:
            handle = self._open_handle()
            if policy is None:
                result = self._lib.redisRouteWrite(handle, taken, size)
            else:
                result = self._lib.redisRouteWriteReading(handle, taken, size, policy)
            if result == -1:
                raise self._error()

    def send(self, data: Union[bytes, bytearray, memoryview]) -> int:
        """sendall, and how much that was."""
        self.sendall(data)
        return len(data)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Up to `size` bytes, waiting for the first as long as the timeout says; b"" at the end.
        Of the flags only MSG_PEEK is known, which never waits."""
        with self._lock:
            if flags & socket.MSG_PEEK:
                return self._peek(size)
            if self._peeked:
                data, self._peeked = self._peeked[:size], self._peeked[size:]
                return data
            into = _memory.chars
            return bytes(ffi.buffer(into, self._receive(into, min(size, READ_SIZE))))

    def _peek(self, size: int) -> bytes:
        if not self._peeked:
            data = self.receive_now()
            if data is None:
                raise BlockingIOError(errno.EAGAIN, "redisroute: nothing to read yet")
            self._peeked = data
        return self._peeked[:size]

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """recv into memory of the caller's; the number of bytes, 0 at the end."""
        # Given back before an error leaves: a traceback that keeps a memoryview and what was made of
        # it, in a cycle of garbage, is fatal to the interpreter.
        with ffi.from_buffer("char[]", buffer, require_writable=True) as into:
            size = min(nbytes, len(into)) if nbytes else len(into)
            with self._lock:
                if not self._peeked and not flags:
                    return self._receive(into, size)
                data = self.recv(size, flags)
                ffi.memmove(into, data, len(data))
                return len(data)

    def shutdown(self, how: int = socket.SHUT_RDWR) -> None:
        """By any thread: ends a wait that is under way. What was sent stays sent."""
        self._closing = True
        handle = self._handle
        if handle is not None and os.getpid() == self._pid:
            self._lib.redisRouteInterrupt(handle)

    def close(self) -> None:
        """By any thread, and any number of times."""
        if os.getpid() != self._pid:  # the lock may be held by a thread that is not here
            self._lock, self._pid = threading.RLock(), os.getpid()
        self.shutdown()
        with self._lock:
            handle, self._handle = self._handle, None
            if handle is not None:
                self._lib.redisRouteClose(handle)

    def __del__(self) -> None:
        # Not the handle's own destructor: in a cycle of garbage that may come before the finalizer
        # of a connection that still calls shutdown.
        if getattr(self, "_handle", None) is not None:
            self.close()

    # --- what only a session has ---

    def connected(self) -> bool:
        """Whether the connection is up. Raises why it is not and will not be."""
        with self._lock:
            result = self._lib.redisRouteConnected(self._open_handle())
            if result == -1:
                raise self._error()
            return bool(result)

    def wait(self, timeout: Optional[float]) -> bool:
        """Until there is something to read, or the connection is decided; False when `timeout`
        seconds have passed."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._lock:
            if self._peeked:
                return True
            while True:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                result = self._lib.redisRouteWait(self._open_handle(), _milliseconds(left))
                if result != -1:
                    return bool(result)
                if ffi.errno != errno.EINTR:
                    raise self._error()

    def receive_now(self) -> Optional[bytes]:
        """What there is to read; None: nothing now, b"": the end."""
        with self._lock:
            if self._peeked:
                peeked, self._peeked = self._peeked, b""
                return peeked
            into = _memory.chars
            n = self._lib.redisRouteRead(self._open_handle(), into, READ_SIZE)
            if n >= 0:
                return bytes(ffi.buffer(into, n))
            if ffi.errno == errno.EAGAIN:
                return None
            raise self._error()

    def kept(self) -> int:
        """About how many bytes of commands are not sent or not answered yet."""
        with self._lock:
            return int(self._lib.redisRouteKept(self._open_handle()))

    # --- inside ---

    def _open_handle(self) -> Any:
        if self._handle is None:
            raise OSError(errno.EBADF, "redisroute: the session is closed")
        if self._closing:
            raise OSError(errno.ECANCELED, "redisroute: the session is being closed")
        return self._handle

    def _error(self) -> OSError:
        number = ffi.errno
        return OSError(number, text(self._lib.redisRouteErrorText(self._handle)))

    def _receive(self, into: Any, size: int) -> int:
        left = self._timeout
        deadline = time.monotonic() + left if left else None
        while True:
            n = self._lib.redisRouteReadWait(self._open_handle(), into, size, _milliseconds(left))
            if n >= 0:
                return int(n)
            number = ffi.errno
            if number == errno.EAGAIN and self._timeout == 0:
                raise BlockingIOError(number, "redisroute: nothing to read yet")
            if number == errno.EAGAIN:
                raise _TimedOut("timed out")
            if number != errno.EINTR:
                raise self._error()
            # A signal whose handler did not raise: wait on for what is left of the time.
            if deadline is not None:
                left = max(0.0, deadline - time.monotonic())
