"""Writes the tracking record: a line per snapshot, bounded in size, safe against a crash at any byte."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from control_room.tracking.record.form import LoudLines, ages_of, kept, to_tree
from control_room.tracking.record.lines import Lines, Moment, moments
from control_room.tracking.snapshot import Snapshot
from services.common.chain import ChainWriter, last_link

LIMIT_BYTES: Final = 16 * 2**20
"""Beyond this the older part of the record is thinned out."""
BEAT_S: Final = 5.0
"""Where nothing changes, a line comes as seldom as this: longer silence means that nobody recorded."""
_THINNED_SHARE: Final = 0.75
"""Of its lines, the oldest so many lose every other one when the record is thinned out."""
_THIN_PAUSE_LINES: Final = 20
_THIN_PAUSE_S: Final = 0.005
"""Thinning goes on beside a replay: it rests after so many lines for so long."""


class RecordError(RuntimeError):
    """The record cannot be written. The message is a sentence."""


class RecordWriter:
    """Appends to one record. Not for several threads. Another process that records the same run goes first."""

    def __init__(self, path: Path, limit_bytes: int = LIMIT_BYTES, stop: Callable[[], bool] = lambda: False) -> None:
        """`stop`: asked while the record is thinned out, which may take seconds; it then stays as it is."""
        self._path = path
        self._stop = stop
        self._limit_bytes = limit_bytes
        self._fd = -1
        self._size = 0
        self._lines = Lines()
        self._loud = LoudLines()
        self._at_s = 0.0

    def take(self, snapshot: Snapshot) -> bool:
        """Writes `snapshot` down where it tells anything new; whether it did.

        Raises:
            RecordError: the file cannot be written; nothing more should be.
        """
        if self._fd < 0 and not self._open():
            return False
        moment_s = snapshot.taken_at_s
        told = kept(snapshot, self._loud)
        tree = to_tree(told)
        if not self._lines.is_news(tree) and moment_s - self._at_s < BEAT_S:
            return False
        self._at_s = moment_s
        self._append(self._lines.line(Moment(moment_s, ages_of(told), tree)))
        if self._size > self._limit_bytes:
            self._thin()
        return True

    def close(self) -> None:
        """Closes the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> bool:
        """Takes the file where nobody else has it, and cuts a torn last line."""
        fd = -1
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            chain, size = _end_of(self._path)
            os.ftruncate(fd, size)
        except BlockingIOError:
            os.close(fd)
            return False
        except (OSError, ValueError) as error:
            if fd >= 0:
                os.close(fd)
            raise RecordError(f"{self._path} cannot be continued: {error}") from error
        self._fd, self._size, self._lines = fd, size, Lines(chain)
        return True

    def _append(self, line: bytes) -> None:
        try:
            left = line
            while left:
                left = left[os.write(self._fd, left) :]
        except OSError as error:
            raise RecordError(f"{self._path} cannot be written: {error.strerror}") from error
        self._size += len(line)

    def _thin(self) -> None:
        """Leaves out every other moment of the older part until there is room again."""
        beside = self._path.with_suffix(".thinning")
        try:
            while self._size > self._limit_bytes * _THINNED_SHARE:
                count = self._path.read_bytes().count(b"\n")
                if count < 4:  # so few hold nothing to leave out
                    return
                lines = Lines()
                with beside.open("wb") as file:
                    for moment in _thinned(self._path, int(count * _THINNED_SHARE)):
                        if self._stop():
                            return
                        file.write(lines.line(moment))
                    file.flush()
                    os.fsync(file.fileno())
                self._swap(beside)
                self._lines = lines
        except (OSError, ValueError) as error:
            raise RecordError(f"{self._path} cannot be thinned out: {error}") from error
        finally:
            beside.unlink(missing_ok=True)

    def _swap(self, beside: Path) -> None:
        fd = os.open(beside, os.O_RDWR | os.O_APPEND)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        beside.replace(self._path)
        os.close(self._fd)
        self._fd, self._size = fd, os.fstat(fd).st_size


def _thinned(path: Path, older: int) -> Iterator[Moment]:
    with path.open("rb") as file:
        for number, moment in enumerate(moments(file)):
            if number >= older or number % 2 == 0:
                yield moment
            if number % _THIN_PAUSE_LINES == 0:
                time.sleep(_THIN_PAUSE_S)


def _end_of(path: Path) -> tuple[ChainWriter, int]:
    """Where the chain ends, and how many bytes its whole lines take. Raises ChainError: it is damaged before that."""
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    return last_link(whole.splitlines(keepends=True)), len(whole)
