"""The read policy of some commands, whatever client sends them."""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import Iterator, Optional

# Of enum redisRouteReadPolicy.
_NUMBERS = {
    "MASTER": 0,
    "PREFER_MASTER": 1,
    "REPLICA": 2,
    "PREFER_REPLICA": 3,
    "ANY": 4,
    "AZ_AFFINITY": 5,
    "AZ_AFFINITY_REPLICAS_AND_PRIMARY": 6,
}

_chosen: ContextVar[Optional[int]] = ContextVar("redisroute.read_policy", default=None)
chosen = _chosen.get


@contextlib.contextmanager
def read_policy(policy: Optional[str]) -> Iterator[None]:
    """Where reads go that are sent in this block, by this thread or task of asyncio: "REPLICA",
    "MASTER" …; None: where their session's own policy says. Blocks nest. A pipeline counts where it
    is executed."""
    number = None
    if policy is not None:
        number = _NUMBERS.get(policy.upper())
        if number is None:
            raise ValueError(f"redisroute: there is no read_policy {policy!r}")
    token = _chosen.set(number)
    try:
        yield
    finally:
        _chosen.reset(token)
