"""Chained JSON lines: numbered, checksummed lines whose gaps and changes show.

The format of every evidence file (docs/run-files.md, "Chained lines"). It detects accidents and careless edits;
what ties a verdict to its evidence for good are the SHA-256 sums in the run's manifest.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

_END = len(b',"c":"00000000"}\n')
_CHECKSUM_AT = len(b'00000000"}\n')
"""Both from a line's end."""


class ChainError(ValueError):
    """A line that is missing, changed, cut or not JSON. The message names the line."""


@dataclass(slots=True)
class ChainWriter:
    """Makes the lines of one file, in order.

    `next_n` and `last_c` continue an existing file: the number of its lines and the checksum of its last one.
    """

    next_n: int = 0
    last_c: str = ""

    def line(self, record: dict[str, Any]) -> bytes:
        """The next line for `record` (without `n` and `c`), newline included."""
        head = orjson.dumps({"n": self.next_n, **record})[:-1]
        self.last_c = _checksum(self.last_c, head)
        self.next_n += 1
        return b'%s,"c":"%s"}\n' % (head, self.last_c.encode())


def _checksum(previous: str, head: bytes) -> str:
    return f"{zlib.crc32(head, zlib.crc32(previous.encode())):08x}"


def read_chain(lines: Iterable[bytes], *, trust_first: bool = False) -> Iterator[dict[str, Any]]:
    """Each record of `lines` (with its `n`), checked against the one before it.

    Args:
        lines: raw lines with their newlines, as a file opened in binary mode yields them.
        trust_first: the lines are the tail of a longer chain: any number and checksum may stand on the first.

    Raises:
        ChainError: at the first line that does not continue the chain; everything yielded before it is sound.
    """
    expected_n, previous = 0, b""
    for position, raw in enumerate(lines):
        # One comparison for the whole of a sound line's end, and nothing else: a run has millions of lines.
        if raw[-_END:] == b',"c":"%08x"}\n' % zlib.crc32(raw[:-_END], zlib.crc32(previous)):
            record = _parsed(raw)
            if record is not None and type(record.get("n")) is int and record["n"] == expected_n:
                expected_n, previous = expected_n + 1, raw[-_CHECKSUM_AT : 8 - _CHECKSUM_AT]
                yield record
                continue
        record = _why_not(raw, position, expected_n, trusted=trust_first and position == 0)
        expected_n, previous = record["n"] + 1, record["c"].encode()
        yield record


def _parsed(raw: bytes) -> dict[str, Any] | None:
    try:
        record = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return record if isinstance(record, dict) else None


def _why_not(raw: bytes, position: int, expected_n: int, *, trusted: bool) -> dict[str, Any]:
    """The record of a line that does not continue the chain, where it is `trusted` all the same; else ChainError."""
    _refuse_cut(position, raw)
    record = _parsed(raw) or {}
    if type(record.get("n")) is not int or type(record.get("c")) is not str:
        raise ChainError(f"line {position + 1} is not a chained JSON object")
    if not trusted:
        if record["n"] != expected_n:
            raise ChainError(f"line {position + 1} has number {record['n']}, expected {expected_n}")
        raise ChainError(f"line {position + 1} does not match its checksum")
    return record


def _refuse_cut(position: int, raw: bytes) -> None:
    if not raw.endswith(b"\n"):
        raise ChainError(f"line {position + 1} is cut: it has no end")


def last_link(lines: Iterable[bytes]) -> ChainWriter:
    """A writer that continues `lines`, after checking them all. Raises ChainError as `read_chain`."""
    writer = ChainWriter()
    for record in read_chain(lines):
        writer.next_n, writer.last_c = record["n"] + 1, record["c"]
    return writer
