"""The source file: raw rows of a CSV of any size, in constant memory, whatever it holds.

Here is only what a CSV is; what a payment is stands in control_room.replay.payments.
"""

from __future__ import annotations

import csv
import hashlib
import io
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Final, TextIO

from control_room.replay.errors import SourceError
from services.common.event import COLUMNS

MAX_LINE_CHARS: Final = 1_000_000
"""A longer line is cut: its row is bad, and memory stays flat."""
_SAMPLE_BYTES: Final = 256 * 1024
_READ_BYTES: Final = 1 << 20
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row below the header."""

    line: int
    """The line of the file it begins on, counted from 1; a quoted line break makes a row longer than a line."""
    cells: list[str]
    fault: str = ""
    """Why it is no row at all; `cells` then holds what was read of it."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What ties a run to its source."""

    sha256: str
    size_bytes: int
    lines: int
    """Line ends in the file: with the header, about the number of its rows (exact where no cell holds a line break)."""


def fingerprint(path: Path) -> Fingerprint:
    """Reads the whole file once. Raises SourceError where it cannot be read."""
    digest, lines, size_bytes, last = hashlib.sha256(), 0, 0, b"\n"
    try:
        with path.open("rb") as file:
            while block := file.read(_READ_BYTES):
                digest.update(block)
                lines += block.count(b"\n")
                size_bytes += len(block)
                last = block[-1:]
    except OSError as error:
        raise _unreadable(path, error) from error
    return Fingerprint(digest.hexdigest(), size_bytes, lines + (last != b"\n"))


def estimate_rows(path: Path) -> int:
    """About how many rows the file has, from its size and its first part. Raises SourceError as `fingerprint`."""
    try:
        size_bytes = path.stat().st_size
        with path.open("rb") as file:
            sample = file.read(_SAMPLE_BYTES)
    except OSError as error:
        raise _unreadable(path, error) from error
    lines = sample.count(b"\n") + (not sample.endswith(b"\n"))
    if len(sample) >= size_bytes:
        return max(0, lines - 1) if sample else 0
    return max(0, round(lines * size_bytes / len(sample)) - 1)


class CsvSource:
    """A CSV with a header. `places` says where in a row each needed column stands."""

    def __init__(self, path: Path) -> None:
        """Reads the header.

        Raises:
            SourceError: no such file, not a regular file, empty, not UTF-8 text, or columns are missing.
        """
        self.path = path
        with _open(path) as file:
            header = next(_rows(file), None)
        if header is None:
            raise SourceError(f"{path} is empty: its first line must name the columns.")
        names = [cell.strip() for cell in header.cells]
        _check_header(path, names)
        self.columns = len(names)
        self.places = tuple(names.index(column) for column in COLUMNS)
        self.cells_of = itemgetter(*self.places)
        """Takes a payment's cells out of a row, in the order of `COLUMNS`."""
        self.ignored_columns = tuple(name for name in names if name not in COLUMNS)
        """Columns that no payment has; their cells are not sent."""

    def rows(self) -> Iterator[RawRow]:
        """All rows below the header, in order; empty lines are passed over."""
        with _open(self.path) as file:
            rows = _rows(file)
            next(rows, None)
            yield from rows


def _open(path: Path) -> TextIO:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
            raise SourceError(f"{path} is {kind}; a replay needs a CSV file that can be read more than once.")
        file = path.open("rb", buffering=_READ_BYTES)
    except OSError as error:
        raise _unreadable(path, error) from error
    head = file.read(4096)
    file.seek(0)
    if head.startswith(_UTF16_MARKS):
        file.close()
        raise SourceError(f"{path} is UTF-16 text; save it as UTF-8.")
    if b"\0" in head.split(b"\n", 1)[0]:
        file.close()
        raise SourceError(f"{path} is not a text file: its first line holds NUL bytes.")
    # Bytes that are not UTF-8 become lone surrogates: the one row is then bad, and rejected.csv gets its bytes back.
    return io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")


def _rows(file: TextIO) -> Iterator[RawRow]:
    lines = _Lines(file)
    reader = csv.reader(lines)
    while True:
        first_line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            # The reader forgets the row and goes on with the next line.
            upto = f" (up to line {reader.line_num})" if reader.line_num > first_line else ""
            yield RawRow(first_line, [lines.last[:1000]], f"is not a CSV row{upto}: {error}")
            continue
        if cells:
            yield RawRow(first_line, cells)


class _Lines:
    """The file's lines, none longer than MAX_LINE_CHARS."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.last = ""

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._file.readline(MAX_LINE_CHARS)
        if not line:
            raise StopIteration
        if len(line) == MAX_LINE_CHARS:
            rest = line
            while rest and not rest.endswith(("\n", "\r")):
                rest = self._file.readline(MAX_LINE_CHARS)
        self.last = line
        return line


def _check_header(path: Path, names: list[str]) -> None:
    missing = [column for column in COLUMNS if column not in names]
    if missing:
        hint = ""
        if len(names) == 1:
            other = next((word for mark, word in ((";", "';'"), ("\t", "tabs")) if mark in names[0]), None)
            hint = f" Its columns seem to be separated by {other}; a comma is needed." if other else ""
        plural = "s" if len(missing) > 1 else ""
        raise SourceError(f"{path} lacks the column{plural} {', '.join(missing)}.{hint}")
    twice = [column for column in COLUMNS if names.count(column) > 1]
    if twice:
        raise SourceError(f"{path} has the column {twice[0]} more than once.")


def _unreadable(path: Path, error: OSError) -> SourceError:
    return SourceError(f"{path} cannot be read: {error.strerror or error}.")
