"""What happens to the sessions of the process, as the library tells it."""

from __future__ import annotations

import _thread
import functools
import queue
import sys
import threading
from typing import Any, Iterator, NamedTuple, Optional, Tuple, Union

from ._library import ffi, library, text

# Of enum redisRouteEvent.
_KINDS = {
    1: "gap",
    2: "resumed",
    3: "link_lost",
    4: "redirected",
    5: "failover",
    6: "topology",
}


class Event(NamedTuple):
    """`kind`: "gap" (a subscription, or MONITOR, is interrupted, and what is published now is missed),
    "resumed" (all of the session's are in force again), "link_lost" (a connection to a node broke, or
    was not accepted), "redirected" (MOVED, ASK), "failover" (a replica has become a master),
    "topology" (nodes, or their slots, have changed). More may come; ignore those you do not know.
    `fd` is the session's fileno(), `text` says it in one line, with the node, and with the channel
    that an interruption is about."""

    kind: str
    fd: int
    text: str


class Events:
    """The events of all sessions from now on, until it is closed, which a `with` does too. They wait
    here, so that nobody is held up: `room` of them, and `missed` counts those that found none. Any
    thread may read them, and use sessions meanwhile."""

    def __init__(self, room: int = 1000) -> None:
        self._queue: queue.SimpleQueue[Optional[Event]] = queue.SimpleQueue()
        self._room = room
        self.missed = 0
        _add(self)

    def get(self, timeout: Optional[float] = None) -> Event:
        """The next one. queue.Empty when there is none for `timeout` seconds (None: waits without
        limit), or when it is closed."""
        event = self._queue.get(timeout=timeout)
        if event is None:
            self._queue.put(None)
            raise queue.Empty
        return event

    def __iter__(self) -> Iterator[Event]:
        while True:
            try:
                yield self.get()
            except queue.Empty:
                return

    def close(self) -> None:
        """Any number of times, by any thread. Who waits is told."""
        if _remove(self):
            self._queue.put(None)

    def __enter__(self) -> "Events":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _tell(self, event: Event) -> None:
        if self._queue.qsize() < self._room:
            self._queue.put(event)
        else:
            self.missed += 1


_lock = threading.Lock()
_listeners: Tuple[Events, ...] = ()


def _tell(_: Any, kind: int, fd: int, words: Any) -> None:
    """Called from inside of a session's call, in its thread. It must not use sessions, and takes no
    lock that somebody holds who does."""
    event = Event(_KINDS.get(kind, str(kind)), fd, text(words))
    for listener in _listeners:
        listener._tell(event)


def _failed(kind: Any, value: Any, trace: Any) -> None:
    """A signal's handler ran in the middle of it and raised. Ctrl-C ends the call instead."""
    if kind is KeyboardInterrupt:
        _thread.interrupt_main()
    else:
        sys.excepthook(kind, value, trace)


@functools.lru_cache(maxsize=None)
def _function() -> Any:
    """For the life of the process: a call may be under way at any time."""
    return ffi.callback("redisRouteEventFn", _tell, onerror=_failed)


def _listen(function: Union[Any, None]) -> None:
    if library().redisRouteSetEventFn(function or ffi.NULL, ffi.NULL) != 0:
        raise MemoryError


def _add(listener: Events) -> None:
    global _listeners
    with _lock:
        if not _listeners:
            _listen(_function())
        _listeners += (listener,)


def _remove(listener: Events) -> bool:
    global _listeners
    with _lock:
        if listener not in _listeners:
            return False
        _listeners = tuple(each for each in _listeners if each is not listener)
        if not _listeners:
            _listen(None)
        return True
