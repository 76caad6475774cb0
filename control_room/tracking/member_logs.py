"""The members' log files as lines: the newest ones, then those that follow, across rotations."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import orjson

_POLL_S = 0.2
_POLL_CALM_S = 0.5
_CALM_LOOKS = 10
"""After so many looks that found nothing the files are looked at less often."""
_POLL_RUSH_S = 1.0
_RUSH_LINES = 200
"""After a look that found more than so many lines too: who wakes up on a busy processor finds its caches cold."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that a member wrote."""

    member: str
    ts: str
    """UTC, as the member wrote it; empty where the line has none (servers that are not ours)."""
    level: str
    text: str
    raw: str

    def plain(self, *, with_member: bool) -> str:
        """For reading: time, member, level and words, control characters made harmless."""
        parts = [self.ts, self.member if with_member else "", self.level if self.level != "info" else "", self.text]
        line = " ".join(part for part in parts if part)
        return "".join(ch if ch.isprintable() else f"\\x{ord(ch):02x}" for ch in line)


# The line is frozen; by the slots' own setters is the quickest way round that.
_set_member = LogLine.__dict__["member"].__set__
_set_raw = LogLine.__dict__["raw"].__set__


class RawLine(LogLine):
    """A line as it was read, taken apart when it is first asked what it says: of most lines of a rush nobody asks."""

    __slots__ = ("_told",)
    _told: tuple[str, str, str]
    """Set when it is first asked for: of a rush thousands of lines are made a second."""

    def __init__(self, member: str, raw: str) -> None:
        """`raw` may be anything; one of our JSON lines tells its time, its level and its words."""
        _set_member(self, member)
        _set_raw(self, raw)

    @property
    def ts(self) -> str:
        """See LogLine."""
        return self._apart()[0]

    @property
    def level(self) -> str:
        """See LogLine."""
        return self._apart()[1]

    @property
    def text(self) -> str:
        """See LogLine."""
        return self._apart()[2]

    def _apart(self) -> tuple[str, str, str]:
        try:
            return self._told
        except AttributeError:
            told = _taken_apart(self.raw)
            object.__setattr__(self, "_told", told)
            return told


def _taken_apart(raw: str) -> tuple[str, str, str]:
    """Time, level and words of one of our JSON lines; of any other line the whole as its words."""
    if raw.startswith("{"):
        try:
            record = orjson.loads(raw)
            text = record["message"] + (f" | {record['error']}" if "error" in record else "")
            return record["ts"], record["level"], text
        except (orjson.JSONDecodeError, KeyError, TypeError):
            pass  # a server's own line that happens to begin with a brace
    return "", "", raw


def newest(member: str, paths: list[Path], lines: int) -> list[LogLine]:
    """The last `lines` lines of a member's log files, oldest first."""
    kept: deque[str] = deque(maxlen=lines)
    for path in paths:
        try:
            with path.open(encoding="utf-8", errors="replace") as file:
                kept.extend(line.rstrip("\n") for line in file)
        except FileNotFoundError:
            continue  # rotated away between listing and opening
    return [RawLine(member, raw) for raw in kept]


def merged(logs: list[list[LogLine]]) -> list[LogLine]:
    """Several members' lines by time; a line without a time stays behind the one before it."""
    keyed: list[tuple[str, int, LogLine]] = []
    for lines in logs:
        last = ""
        for line in lines:
            last = line.ts or last
            keyed.append((last, len(keyed), line))
    return [line for _, _, line in sorted(keyed, key=lambda item: item[:2])]


def follow(
    live: dict[str, Path], stop: Callable[[], bool] = lambda: False, *, from_start: bool = False
) -> Iterator[LogLine]:
    """Lines as they are written from this call on, until `stop()`.

    Args:
        live: each member's live log file; one that does not exist yet is waited for.
        stop: asked between looks.
        from_start: begin with what already stands there, instead of at the end.
    """
    return chain.from_iterable(follow_in_batches(live, stop, from_start=from_start))


def follow_in_batches(
    live: dict[str, Path], stop: Callable[[], bool] = lambda: False, *, from_start: bool = False
) -> Iterator[list[LogLine]]:
    """The same, all lines that one look found in one file at a time. Arguments as of `follow`."""
    return _following({member: _Tail(path, at_end=not from_start) for member, path in live.items()}, stop)


def _following(tails: dict[str, _Tail], stop: Callable[[], bool]) -> Iterator[list[LogLine]]:
    calm = 0
    while not stop():
        lines = 0
        for member, tail in tails.items():
            if found := tail.new_lines():
                lines += len(found)
                yield [RawLine(member, raw) for raw in found]
        calm = 0 if lines else calm + 1
        # A file tells nobody that it has grown. After a look that found something too: to look at a log that grows all
        # the time for each of its lines costs more than the lines do.
        time.sleep(_POLL_RUSH_S if lines > _RUSH_LINES else _POLL_S if calm < _CALM_LOOKS else _POLL_CALM_S)


class _Tail:
    """What was added to one file since the last look; notices that it was rotated or cut."""

    def __init__(self, path: Path, *, at_end: bool) -> None:
        self._path = path
        self._inode = -1
        self._offset = 0
        self._rest = b""
        if at_end and path.exists():
            stat = path.stat()
            self._inode, self._offset = stat.st_ino, stat.st_size

    def new_lines(self) -> list[str]:
        try:
            stat = self._path.stat()
            if (stat.st_ino, stat.st_size) == (self._inode, self._offset):
                return []  # most looks at most files: not opened for it
            with self._path.open("rb") as file:
                stat = os.fstat(file.fileno())
                if stat.st_ino != self._inode or stat.st_size < self._offset:
                    self._inode, self._offset, self._rest = stat.st_ino, 0, b""
                file.seek(self._offset)
                added = file.read()
        except FileNotFoundError:
            return []
        self._offset += len(added)
        *whole, self._rest = (self._rest + added).split(b"\n")
        return [line.decode("utf-8", "replace") for line in whole]
