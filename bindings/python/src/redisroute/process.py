"""What concerns the whole process: statistics, and the configuration's files."""

from __future__ import annotations

import re
from typing import NamedTuple, Optional

from ._library import ffi, library, text

_WHY_SIZE = 1024
_LINE = re.compile(r"(\w+)(?:\{(.*)\})? (\d+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")


class Statistic(NamedTuple):
    """One number. Its name, and its labels, are those of doc/statistics.md."""

    name: str
    labels: dict[str, str]
    value: int


def _unescaped(value: str) -> str:
    return _ESCAPED.sub(lambda found: "\n" if found[1] == "n" else found[1], value)


def statistics() -> list[Statistic]:
    """The library's numbers, of all sessions of the process. They only grow. Any thread."""
    found = []
    for line in statistics_text().splitlines():
        parts = _LINE.fullmatch(line)
        if parts is not None:
            labels = {name: _unescaped(value) for name, value in _LABEL.findall(parts[2] or "")}
            found.append(Statistic(parts[1], labels, int(parts[3])))
    return found


def statistics_text() -> str:
    """The same in Prometheus' text exposition format, to be served as it is. Any thread."""
    size = 1
    while True:
        to = ffi.new("char[]", size)
        length = library().redisRouteStatsText(to, size)
        if length < size:
            return text(to)
        size = length + 4096  # numbers may be added meanwhile


def count_commands(on: bool = True) -> None:
    """Whether commands are counted by cluster and name, with a histogram of their latency, as by
    REDISROUTE_COMMAND_STATS=1. What was counted stays. Any thread."""
    library().redisRouteSetCommandStats(int(on))


def check_config(files: Optional[str] = None) -> None:
    """Raises ValueError when these files would be refused; nothing changes. `files` is what
    REDISROUTE_CONFIG would be: names, separated by ":"; None: those that it names now. The error has
    file, line, column, field, what is wrong and what would be right. Any thread."""
    why = ffi.new("char[]", _WHY_SIZE)
    names = ffi.NULL if files is None else ffi.new("char[]", files.encode())
    if library().redisRouteCheckConfig(names, why, _WHY_SIZE) != 0:
        raise ValueError(f"redisroute: {text(why)}")
