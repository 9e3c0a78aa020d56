"""A client of its own, for those who want no other: commands as words, replies as they are."""

from __future__ import annotations

from typing import Any, Optional, Union
from urllib.parse import parse_qs, unquote, urlsplit

from .session import READ_SIZE, Session
from .tls import Tls

Word = Union[bytes, bytearray, memoryview, str, int, float]


class Error(Exception):
    """What this module raises."""


class ReplyError(Error):
    """An error that the server, or redisroute, gave as the reply."""

    @property
    def code(self) -> str:
        """Its first word: ERR, WRONGTYPE, CROSSSLOT, UNREACHABLE …"""
        return str(self).split(" ", 1)[0]


class Push(list):  # type: ignore[type-arg]
    """A message of RESP3 that is nobody's reply."""


def encode(words: tuple[Word, ...]) -> bytes:
    """A command in the Redis protocol."""
    if not words:
        raise ValueError("redisroute: a command has at least one word")
    out = [b"*%d\r\n" % len(words)]
    for word in words:
        if isinstance(word, str):
            data = word.encode()
        elif isinstance(word, (bytes, bytearray, memoryview)):
            data = bytes(word)
        elif isinstance(word, (int, float)) and not isinstance(word, bool):
            data = repr(word).encode()
        else:
            raise TypeError(f"redisroute: {type(word).__name__} is no word of a command")
        out.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(out)


class Reader:
    """Replies from the bytes of a session, RESP2 and RESP3."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._data = bytearray()
        self._at = 0

    def _more(self) -> None:
        if self._at > READ_SIZE:
            del self._data[: self._at]
            self._at = 0
        data = self._session.recv(READ_SIZE)
        if not data:
            raise ConnectionResetError("redisroute: the server closed the connection")
        self._data += data

    def _line(self) -> bytes:
        begin = self._at
        while (end := self._data.find(b"\r\n", begin)) == -1:
            behind = max(0, len(self._data) - 1 - self._at)
            self._more()
            begin = self._at + behind
        line = bytes(self._data[self._at : end])
        self._at = end + 2
        return line

    def _bulk(self, length: int) -> Optional[bytes]:
        if length < 0:
            return None
        while len(self._data) - self._at < length + 2:
            self._more()
        bulk = bytes(self._data[self._at : self._at + length])
        self._at += length + 2
        return bulk

    def _items(self, count: int) -> Optional[list[Any]]:
        return None if count < 0 else [self._value() for _ in range(count)]

    def _value(self) -> Any:
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b"-":
            return ReplyError(rest.decode("utf-8", "replace"))
        if kind in (b":", b"("):
            return int(rest)
        if kind == b"$":
            return self._bulk(int(rest))
        if kind == b"*":
            return self._items(int(rest))
        if kind == b"_":
            return None
        if kind == b"#":
            return rest == b"t"
        if kind == b",":
            return float(rest)
        if kind == b"!":
            return ReplyError((self._bulk(int(rest)) or b"").decode("utf-8", "replace"))
        if kind == b"=":
            return (self._bulk(int(rest)) or b"")[4:]
        if kind == b"%":
            items = self._items(2 * int(rest)) or []
            return [tuple(items[i : i + 2]) for i in range(0, len(items), 2)]
        if kind == b"~":
            return self._items(int(rest))
        if kind == b">":
            return Push(self._items(int(rest)) or [])
        raise Error(f"redisroute: a reply cannot begin with {kind!r}")

    def reply(self) -> Any:
        """The next reply. Errors are ReplyErrors, not raised."""
        value = self._value()
        while isinstance(value, Push):
            value = self._value()
        return value


class Pipeline:
    """Commands that are sent together. Use it once or many times, alone or in a `with`."""

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._bytes: list[bytes] = []

    def command(self, *words: Word) -> "Pipeline":
        """Adds a command."""
        self._bytes.append(encode(words))
        return self

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """The replies, in the order of the commands. The first error is raised when all have
        come, or left in its place with raise_on_error=False."""
        commands, self._bytes = self._bytes, []
        replies = self._client._exchange(b"".join(commands), len(commands))
        for reply in replies if raise_on_error else ():
            if isinstance(reply, ReplyError):
                raise reply
        return replies

    def __len__(self) -> int:
        return len(self._bytes)

    def __enter__(self) -> "Pipeline":
        return self

    def __exit__(self, *_: Any) -> None:
        self._bytes = []


class Client:
    """One session. Strings of replies are bytes, nil is None, maps are lists of pairs. One thread
    at a time. After a time-out or a lost connection it is closed."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._reader = Reader(session)

    def _exchange(self, commands: bytes, count: int) -> list[Any]:
        try:
            if commands:
                self._session.sendall(commands)
            return [self._reader.reply() for _ in range(count)]
        except BaseException:
            self.close()  # a late reply must not reach a later command
            raise

    def command(self, *words: Word) -> Any:
        """The reply to one command; raises ReplyError when it is an error."""
        (reply,) = self._exchange(encode(words), 1)
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    def pipeline(self) -> Pipeline:
        """Commands that are sent together."""
        return Pipeline(self)

    def close(self) -> None:
        """Any number of times."""
        self._session.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def connect(
    url: str = "redis://127.0.0.1:6379",
    *,
    username: Optional[str] = None,
    password: Optional[str] = None,
    timeout: Optional[float] = None,
    connect_timeout: Optional[float] = None,
    read_policy: Optional[str] = None,
    tls: Optional[Tls] = None,
) -> Client:
    """A client of the cluster that this node belongs to. `url`: redis://[user:password@]host[:port]
    with `timeout` and `connect_timeout` (seconds) and `read_policy` ("REPLICA" …) as arguments here
    or in the query. rediss:// is TLS, as `tls` says."""
    parts = urlsplit(url if "://" in url else f"redis://{url}")
    if parts.scheme not in ("redis", "rediss") or parts.path.strip("/") not in ("", "0"):
        raise ValueError(f"redisroute: redis://host:port is supported, not {url}")
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    if unknown := set(query) - {"timeout", "connect_timeout", "read_policy"}:
        raise ValueError(f"redisroute: unknown in the URL: {', '.join(sorted(unknown))}")
    session = Session(
        parts.hostname or "127.0.0.1",
        parts.port or 6379,
        connect_timeout=(
            float(query["connect_timeout"]) if "connect_timeout" in query else connect_timeout
        ),
        timeout=float(query["timeout"]) if "timeout" in query else timeout,
        read_policy=query.get("read_policy", read_policy),
        tls=tls or (Tls() if parts.scheme == "rediss" else None),
    )
    client = Client(session)
    username = username or (unquote(parts.username) if parts.username else None)
    password = password or (unquote(parts.password) if parts.password else None)
    if password is not None:
        client.command("AUTH", *([username] if username else []), password)
    return client
