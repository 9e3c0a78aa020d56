"""patch and unpatch: connections of a package become sessions, whoever makes them."""

from __future__ import annotations

import functools
import importlib
import threading
from typing import Any, Callable, Optional

from ._connection import can_read, open_session

# Of the asynchronous cluster client's connections, which bear no other mark.
_CLUSTERS_OWN = "_redisroute_clusters_own"


class Patch:
    """What patch did. To be taken back with undo, or used in a `with`."""

    def __init__(self, package: str, read_policy: Optional[str]) -> None:
        self.package = package
        self.read_policy = read_policy

    def undo(self) -> None:
        """Takes this one back, whichever were made since. By any thread, any number of times."""
        _undo(self)

    def __enter__(self) -> "Patch":
        return self

    def __exit__(self, *_: Any) -> None:
        self.undo()


_lock = threading.Lock()
# What is in force, by package, the latest last. Replaced, never changed: it is read without the lock.
_layers: dict[str, tuple[Patch, ...]] = {}
_originals: dict[str, list[tuple[type, str, Any]]] = {}


def _read_policy(package: str) -> Optional[str]:
    layers = _layers.get(package)
    return layers[-1].read_policy if layers else None


def _modules(package: str, *names: str) -> list[Any]:
    return [importlib.import_module(f"{package}.{name}") for name in names]


def _replace(package: str, owner: type, name: str, wrap: Callable[[Any], Any]) -> None:
    original = getattr(owner, name)
    _originals[package].append((owner, name, owner.__dict__.get(name)))
    setattr(owner, name, functools.wraps(original)(wrap(original)))


def _cluster_class(cluster: Any) -> type:
    found: type = getattr(cluster, "RedisCluster", None) or cluster.ValkeyCluster
    return found


def _replace_sync(package: str) -> None:
    connection, sentinel, cluster = _modules(package, "connection", "sentinel", "cluster")
    others = (sentinel.SentinelManagedConnection,)
    cluster_class = _cluster_class(cluster)

    def finds_its_own(self: Any) -> bool:
        """Of a client that finds its servers itself."""
        maker = getattr(getattr(self, "redis_connect_func", None), "__self__", None)
        maker = maker or getattr(getattr(self, "valkey_connect_func", None), "__self__", None)
        return isinstance(self, others) or isinstance(maker, cluster_class)

    def wrap_connect(original: Any) -> Any:
        def _connect(self: Any) -> Any:
            return (
                original(self) if finds_its_own(self) else open_session(self, _read_policy(package))
            )

        return _connect

    def wrap_can_read(original: Any) -> Any:
        def patched(self: Any, timeout: Optional[float] = 0) -> Any:
            return can_read(self, functools.partial(original, self), timeout)

        return patched

    _replace(package, connection.Connection, "_connect", wrap_connect)
    _replace(package, connection.SSLConnection, "_connect", wrap_connect)
    _replace(package, connection.Connection, "can_read", wrap_can_read)


def _replace_async(package: str) -> None:
    from . import _stream

    connection, sentinel, cluster = _modules(
        package, "asyncio.connection", "asyncio.sentinel", "asyncio.cluster"
    )
    others = (sentinel.SentinelManagedConnection,)

    def wrap_connect(original: Any) -> Any:
        async def _connect(self: Any) -> None:
            if isinstance(self, others) or hasattr(self, _CLUSTERS_OWN):
                await original(self)
            else:
                await _stream.connect(self, _read_policy(package))

        return _connect

    def wrap_acquire(original: Any) -> Any:
        def acquire_connection(self: Any) -> Any:
            acquired = original(self)
            setattr(acquired, _CLUSTERS_OWN, True)
            return acquired

        return acquire_connection

    _replace(package, connection.Connection, "_connect", wrap_connect)
    _replace(package, cluster.ClusterNode, "acquire_connection", wrap_acquire)


def _restore(package: str) -> None:
    for owner, name, original in reversed(_originals.pop(package)):
        if original is None:
            delattr(owner, name)
        else:
            setattr(owner, name, original)


def _undo(patched: Patch) -> None:
    with _lock:
        layers = _layers.get(patched.package, ())
        if patched not in layers:
            return
        _layers[patched.package] = tuple(layer for layer in layers if layer is not patched)
        if not _layers[patched.package]:
            _restore(patched.package)


def patch(package: str = "redis", *, read_policy: Optional[str] = None) -> Patch:
    """Routes every TCP connection that redis-py opens from now on, in both its forms, whoever made
    its pool and when, with TLS too. Connections that are open already are not touched; neither are UNIX
    sockets, and those of Sentinel and of RedisCluster, which find their servers themselves.

    `read_policy` says which nodes answer commands that only read ("REPLICA", "PREFER_REPLICA" …);
    None: as configured. `package` may be "valkey".

    Patches nest: the latest one says what holds, and each is taken back by itself, by its undo(),
    by leaving a `with redisroute.patch():`, or, the latest first, by unpatch(). Any thread."""
    if package not in ("redis", "valkey"):
        raise ValueError(f"redisroute: {package!r} is not a package that can be patched")
    patched = Patch(package, read_policy)
    with _lock:
        layers = _layers.get(package, ())
        if not layers:
            _originals[package] = []
            try:
                _replace_sync(package)
                _replace_async(package)
            except BaseException:
                _restore(package)
                raise
        _layers[package] = layers + (patched,)
    return patched


def unpatch(package: str = "redis") -> None:
    """Takes the latest patch back. When it was the only one, connections that are opened from now
    on are the package's own; those that are open stay what they are."""
    layers = _layers.get(package, ())
    if layers:
        layers[-1].undo()
