"""Reading the ledger from line N on, without an index.

Each line begins with its own number, so the byte at which a line begins is found by bisection: about 30 small reads
in a ledger of a million lines, and nothing to build at start or to keep in memory.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from services.merchant_server.ledger import LedgerError, LedgerFile

MAX_PAGE_LINES: Final = 100_000
MAX_PAGE_BYTES: Final = 4 * 1024 * 1024
"""Whichever limit is met first ends a page."""
_PROBE_BYTES: Final = 4096
"""More than a line has: ids and header values are cut to about a hundred characters each."""
_NUMBER = re.compile(rb'\{"n":(\d+),')


class Page(NamedTuple):
    """Whole lines of the ledger, as they lie in the file."""

    body: bytes
    next_line: int
    """The number of the first line after the page."""


def read_page(ledger: LedgerFile, first_line: int, max_lines: int) -> Page:
    """The lines from number `first_line` on; an empty page where the ledger has not come so far."""
    synced = ledger.synced
    if first_line >= synced.lines or max_lines < 1:
        return Page(b"", first_line)
    offset = find_line(ledger, first_line)
    last = first_line + max_lines
    end = find_line(ledger, last) if last < synced.lines else synced.size_bytes
    body = ledger.read(offset, min(end - offset, MAX_PAGE_BYTES))
    body = body[: body.rfind(b"\n") + 1]
    return Page(body, first_line + body.count(b"\n"))


def find_line(ledger: LedgerFile, number: int) -> int:
    """The offset at which line `number` begins; it must be a synced line.

    Raises:
        LedgerError: what lies there is not a ledger's line: somebody changed the file.
    """
    low, high = 0, ledger.synced.size_bytes
    while high - low > _PROBE_BYTES:
        middle = (low + high) // 2
        block = ledger.read(middle, _PROBE_BYTES)
        begin = block.find(b"\n") + 1
        match = _NUMBER.match(block, begin) if begin else None
        if match is None:
            high = middle
            continue
        found = int(match[1])
        if found == number:
            return middle + begin
        if found < number:
            low = middle + begin
        else:
            high = middle
    return _scan(ledger, low, number)


def _scan(ledger: LedgerFile, offset: int, number: int) -> int:
    """Walks whole lines from `offset`, the begin of a line, to line `number`."""
    block = ledger.read(offset, 4 * _PROBE_BYTES)
    begin = 0
    while match := _NUMBER.match(block, begin):
        if int(match[1]) == number:
            return offset + begin
        end = block.find(b"\n", begin)
        if end < 0:
            break
        begin = end + 1
    raise LedgerError(f"{ledger.path} does not hold line {number} where it should: the file was changed")
